# What bootstrap does where all, or something, or a right is missing. Programs that would change the machine are replaced by ones that
# note their call; where nothing is to be done none of those may be called.
set -euo pipefail

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

tree="$scratch/tree" programs="$scratch/bin"
mkdir -p "$tree" "$programs"
cp "$SOURCE_DIR/bootstrap" "$tree/bootstrap"
for program in bash dirname mkdir rm mv grep tail head wc sed awk nproc cat flock uname tee env touch; do
  ln -s "$(command -v "$program")" "$programs/$program"
done
stand_in() {
  printf '#!/bin/bash\n%s\n' "$2" >"$programs/$1"
  chmod +x "$programs/$1"
}
stand_in dpkg-query '[ ! -e '"$scratch"'/missing ] || ! grep -qx "${@: -1}" '"$scratch"'/missing || exit 1; printf installed'
stand_in id 'cat '"$scratch"'/user'
stand_in cmake 'echo "cmake $*" >>'"$scratch"'/calls; [ "$1" = --build ] || touch "$PWD/build/build.ninja"; echo "[1/1] Linking"'
stand_in ctest 'printf "1/2 Test #1: one ... Passed\n50%% tests passed, 1 tests failed out of 2\n\nTotal Test time (real) = 1 sec\n\nThe following tests FAILED:\n\t 2 - two\n"; exit 8'
for program in apt-get unzip bible; do stand_in "$program" 'echo "'"$program"' $*" >>'"$scratch"'/calls; echo "E: '"$program"' cannot" >&2; exit 100'; done
everything_there() {
  rm -rf "$tree/.deps" "$tree/build" "$scratch/missing" "$scratch/calls"
  mkdir -p "$tree/.deps/libtorch/include/ATen/core" "$tree/.deps/libtorch/lib" "$tree/.deps/text/kjv" "$tree/build/bin" \
    "$tree/.deps/pictures/"{emoji,easy-vqa}
  touch "$tree/.deps/pictures/"{emoji/NotoColorEmoji.ttf,emoji/emoji-test.txt,digits.csv.gz,easy-vqa/answers.txt}
  touch "$tree/.deps/libtorch/include/ATen/core/Tensor.h" "$tree/.deps/libtorch/lib/"{libtorch_cpu,libc10}.so \
    "$tree/.deps/text/kjv/"{1-old,2-new}-testament.txt "$scratch/calls"
  printf '#!/bin/bash\necho "colonnade $*"\n' >"$tree/build/bin/colonnade"
  chmod +x "$tree/build/bin/colonnade"
  echo 0 >"$scratch/user"
}
# bootstrap CODE ARGUMENTS: without a network where this machine lets us take it away.
offline=()
! unshare -n true 2>/dev/null || offline=("$(command -v unshare)" -n)
bootstrap() {
  local wanted=$1 code=0
  shift
  (cd "$scratch" && unset Torch_ROOT && PATH="$programs" "${offline[@]}" "$tree/bootstrap" "$@") >"$scratch/out" 2>"$scratch/err" </dev/null ||
    code=$?
  [ "$code" = "$wanted" ] || fail "bootstrap $* ended with $code, not $wanted: $(cat "$scratch/out" "$scratch/err")"
}
complains() {
  [ "$(wc -l <"$scratch/err")" = 1 ] || fail "one line was to be said, not: $(cat "$scratch/err")"
  grep -qE -- "$1" "$scratch/err" || fail "the line should say '$1': $(cat "$scratch/err")"
}

everything_there
bootstrap 0 --help
for word in build run test example; do grep -q "$word" "$scratch/out" || fail "--help does not speak of $word"; done
bootstrap 2
bootstrap 2 rnu
complains "unknown command 'rnu'; allowed: build, run, test"
bootstrap 2 run fast
complains "takes --cuda or no arguments; found: fast"
[ ! -s "$scratch/calls" ] || fail "help and mistakes do something: $(cat "$scratch/calls")"

# All there: nothing but building is called, and every line says what is done.
bootstrap 0 run
[ "$(cat "$scratch/calls")" = "cmake --preset release
cmake --build $tree/build --parallel $(sed -n 's/^bootstrap: building, \([0-9]*\) .*/\1/p' "$scratch/out")" ] || fail "it called: $(cat "$scratch/calls")"
for line in 'Debian packages: there' 'LibTorch: there' 'default text: there' 'default pictures: there' 'running studies/quickstart'; do
  grep -qx "bootstrap: $line" "$scratch/out" || fail "it does not say '$line': $(cat "$scratch/out")"
done
[ "$(grep '^colonnade' "$scratch/out")" = 'colonnade run studies/quickstart
colonnade run studies/rcc --profile pilot' ] || fail "the studies were not run"
: >"$scratch/calls"
bootstrap 0 build
grep -q -- --preset "$scratch/calls" && fail "it configures what is configured"

# With --cuda an nvcc that is there is taken, and an unfinished configuration looks for it anew.
stand_in nvcc ''
for state in NOTFOUND found; do
  echo "COLONNADE_NVCC:FILEPATH=$state" >"$tree/build/CMakeCache.txt"
  : >"$scratch/calls"
  bootstrap 0 build --cuda
  grep -qx "bootstrap: nvcc: $programs/nvcc" "$scratch/out" || fail "it does not say which nvcc it takes: $(cat "$scratch/out")"
  configured=$(grep -c -- --preset "$scratch/calls" || true)
  [ "$configured" = "$([ $state = found ] && echo 0 || echo 1)" ] || fail "with nvcc $state it configured $configured times"
done
rm "$programs/nvcc"

# The tests' count comes last, and their code is bootstrap's.
bootstrap 8 test
[ "$(tail -n 1 "$scratch/out")" = '50% tests passed, 1 tests failed out of 2' ] || fail "the last line is: $(tail -n 1 "$scratch/out")"

# No right to install what is missing.
everything_there
printf 'bible-kjv\nninja-build\n' >"$scratch/missing"
echo 1000 >"$scratch/user"
bootstrap 3 build
complains 'packages are missing, and this is neither root nor is there sudo: ninja-build bible-kjv'
stand_in sudo 'echo "sudo: a password is required" >&2; exit 1'
bootstrap 3 build
complains 'packages are missing, and sudo gives no right to install them: ninja-build bible-kjv'
[ ! -s "$scratch/calls" ] || fail "without a right it called: $(cat "$scratch/calls")"
rm "$programs/sudo"

# The right, but no such package, or no network.
echo 0 >"$scratch/user"
bootstrap 3 build
complains 'apt-get update failed: E: apt-get cannot \(all of it: .*/\.deps/packages\.log\)'
stand_in apt-get 'echo "apt-get $*" >>'"$scratch"'/calls; [ "$1" = update ] || { echo "E: Unable to locate package ${@: -1}" >&2; exit 100; }'
bootstrap 3 build
complains 'apt-get install failed: E: Unable to locate package bible-kjv \(all of it: .*/\.deps/packages\.log\)'
grep -q 'apt-get install .* ninja-build bible-kjv$' "$scratch/calls" || fail "it installs something else: $(cat "$scratch/calls")"

# A LibTorch of one's own that is none; an unfinished text.
everything_there
bootstrap_with_torch() { (PATH="$programs" Torch_ROOT="$scratch" "$tree/bootstrap" build) >"$scratch/out" 2>"$scratch/err"; }
! bootstrap_with_torch || fail "any folder is taken for a LibTorch"
complains 'Torch_ROOT=.* has no include/ATen and lib/libtorch_cpu.so'
rm "$tree/.deps/text/kjv/2-new-testament.txt"
bootstrap 3 build
grep -q 'the program bible cannot print Gen1:1-Mal4:6' "$scratch/err" || fail "a text that cannot be had: $(cat "$scratch/err")"
[ ! -e "$tree/.deps/text/kjv/2-new-testament.txt" ] || fail "half a text was left"

# Pictures that cannot be had: there is no network, or the wheel cannot be unpacked.
everything_there
rm "$tree/.deps/pictures/digits.csv.gz"
PIP_RETRIES=0 bootstrap 3 build
complains 'fetching the digits failed: .* \(all of it: .*/\.deps/pictures\.log\)|cannot unpack the digits of scikit-learn'
[ ! -e "$tree/.deps/pictures/digits.csv.gz" ] || fail "half the pictures were left"
echo "bootstrap does what is missing and says what it cannot"
