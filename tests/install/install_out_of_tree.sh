# Installs Colonnade into an empty folder and builds two plugins against it that know nothing of the source tree.
set -euo pipefail

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix="$scratch/prefix"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

"$CMAKE" --install "$BUILD_DIR" --prefix "$prefix" >"$scratch/install.log" || fail "cmake --install: $(tail -n 3 "$scratch/install.log")"
for file in include/colonnade/plugin.h lib/libcolonnade_sdk.so lib/cmake/Colonnade/ColonnadeConfig.cmake; do
  [ -e "$prefix/$file" ] || fail "$file was not installed"
done
# What is installed finds its libraries by places relative to itself.
for file in "$prefix"/lib/*.so "$prefix"/lib/colonnade/*.so "$prefix"/bin/*; do
  [ -f "$file" ] || continue
  if readelf -d "$file" | grep -E 'RPATH|RUNPATH' | grep -E '\[/|:/'; then fail "$file has an absolute run path"; fi
done

# A copy, so that nothing beside it can be reached.
cp -r "$SOURCE_DIR/tests/fixtures/out_of_tree" "$scratch/project"
"$CMAKE" -S "$scratch/project" -B "$scratch/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror ${SANITIZE_FLAGS:-}" \
  >"$scratch/configure.log" 2>&1 || fail "configuring: $(cat "$scratch/configure.log")"
"$CMAKE" --build "$scratch/build" --parallel 2 >"$scratch/build.log" 2>&1 || fail "building: $(tail -n 40 "$scratch/build.log")"

for host_folder in kernel sdk plugins tests; do
  if grep -q "$SOURCE_DIR/$host_folder/" "$scratch/build/compile_commands.json"; then
    fail "the plugin was compiled with $host_folder/ of the source tree"
  fi
done

stamp() { readelf -p colonnade_stamp "$1" | sed -n 's/\\n//; s/.*\(name=\|version=\|torch=\|requires=\)/\1/p'; }
plugins=("$scratch/build/median.plugin.so")
stamp "${plugins[0]}" | grep -qx 'version=1.2.0' || fail "median's stamp: $(stamp "${plugins[0]}")"
stamp "${plugins[0]}" | grep -qx 'torch=none' || fail "median's stamp: $(stamp "${plugins[0]}")"
if [ -e "$prefix/lib/libcolonnade_tensor.so" ]; then
  plugins+=("$scratch/build/spectrum.plugin.so")
  stamp "${plugins[1]}" | grep -qE '^torch=[0-9]+\.[0-9]+' || fail "spectrum's stamp: $(stamp "${plugins[1]}")"
  stamp "${plugins[1]}" | grep -qx 'requires=median' || fail "spectrum's stamp: $(stamp "${plugins[1]}")"
fi
for plugin in "${plugins[@]}"; do
  [ -f "$plugin" ] || fail "$plugin was not built"
  # Every library and symbol is found, as the loader sees it.
  if ldd -r "$plugin" 2>&1 | grep -E 'not found|undefined symbol'; then fail "$plugin does not load"; fi
done

# The installed host finds the plugin by its path, and its op is like any other.
export HOME="$scratch" TERM=dumb
unset XDG_CACHE_HOME COLONNADE_PLUGIN_PATH
colonnade="$prefix/bin/colonnade"
mkdir -p "$scratch/work/.colonnade" "$scratch/work/study"
cd "$scratch/work"
says() {
  local wanted=$1
  shift
  "$@" >"$scratch/out" 2>&1 || fail "'$*' ended with $?: $(cat "$scratch/out")"
  grep -qE -- "$wanted" "$scratch/out" || fail "'$*' does not say '$wanted': $(cat "$scratch/out")"
}
for where in "$scratch/build" "${plugins[0]}"; do
  says '^median +1.2.0 +explicit +2 +ok' "$colonnade" plugin list --plugin "$where"
  says '^median/median +table +scalar +The median of a column' "$colonnade" op --plugin "$where"
  for name in median median/median; do
    says '^median/median, version' "$colonnade" op "$name" --plugin "$where"
    says '^median/median, version' "$colonnade" op "$name" --help --plugin "$where"
    says '^column +string +"number" +which column' "$colonnade" op "$name" --plugin "$where"
  done
done
says '"plugin": "median"' "$colonnade" op median --json --plugin "$scratch/build"
says 'median/median +The median of a column' "$colonnade" plugin info median --plugin "$scratch/build"
cat >study/study.lua <<'LUA'
local col = require "colonnade"
local numbers = col.numbers { of = { 3, 1, 2, 10 } }
return col.study {
  name = "medians",
  arms = {
    ["function"] = col.median { table = numbers, column = "number" },
    method = numbers:median {},
    full = col.op "median/median" { table = col.numbers { of = { 5, 4, 6 } } },
  },
  shared = { numbers = numbers },
  files = { ["numbers.csv"] = numbers.table },
}
LUA
says '^medians: 4 nodes, 0 found, 4 to compute' "$colonnade" plan study --plugin "$scratch/build"
says '^4 nodes computed' "$colonnade" run study --plugin "$scratch/build"
run=$(echo runs/medians-*)
for line in '\| full +\| +5 ' '\| function +\| +2\.5' '\| method +\| +2\.5' '`median/median`: The median of a column of numbers' \
  '\| of +\| .*the numbers' 'files/numbers\\?\.csv'; do
  grep -qE "$line" "$run/RESEARCH_REPORT.md" || fail "the report does not say '$line': $(cat "$run/RESEARCH_REPORT.md")"
done
[ "$(paste -sd' ' "$run/files/numbers.csv")" = 'number 3 1 2 10' ] || fail "files/numbers.csv holds $(cat "$run/files/numbers.csv")"
says '^medians-.*: 4 identical' "$colonnade" replay last
sed -i 's/numbers:median/numbers:medain/' study/study.lua
if "$colonnade" run study --plugin "$scratch/build" >"$scratch/out" 2>&1; then fail "a misspelt method was accepted"; fi
grep -qE "study/study.lua:7: .*medain.*did you mean 'median'" "$scratch/out" || fail "a misspelt method is answered with $(cat "$scratch/out")"
echo "installed, and built ${#plugins[@]} plugins against it; the host that was installed runs them"
