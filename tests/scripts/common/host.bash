# Shared by the scripts that drive the whole host. Needs COLONNADE (the executable) and BUILD_DIR. Gives every script a scratch
# folder that goes at its end.
set -euo pipefail

good_plugin="$BUILD_DIR/tests/plugins/good.plugin.so"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/colonnade-script-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export TERM=dumb

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# make_project NAME: an empty project; prints its folder.
make_project() {
  mkdir -p "$scratch/$1/.colonnade" "$scratch/$1/study"
  echo "$scratch/$1"
}

# host PROJECT ARGUMENTS: the executable in the project's folder.
host() {
  local project=$1
  shift
  (cd "$project" && exec "$COLONNADE" "$@")
}

# run_study PROJECT [OPTIONS]: runs its study.
run_study() {
  local project=$1
  shift
  host "$project" run study --plugin "$good_plugin" "$@"
}

run_folder() {
  echo "$1"/runs/*
}

# The results that must not depend on what happened on the way: all of a run but its journal, its logs and what is measured.
not_results=(journal.jsonl logs 'measured*' 'MEASURED*')

copy_results() {
  rm -rf "$2"
  mkdir -p "$2"
  (cd "$(run_folder "$1")" && tar cf - "${not_results[@]/#/--exclude=}" .) | tar xf - -C "$2"
}

# same_results PROJECT REFERENCE [WHEN]: REFERENCE is what copy_results wrote.
same_results() {
  local difference
  difference=$(diff -r "${not_results[@]/#/--exclude=}" "$2" "$(run_folder "$1")") && return
  head -50 <<<"$difference" >&2
  fail "${3:+$3: }the results in $1 differ from an undisturbed run's"
}

# No process of this project may be left: workers name its store, coordinators work in it.
no_processes() {
  local project=$1 tries=0
  while pgrep -f -- "--store=$project/" >/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 40 ] || fail "a worker of $project outlived its coordinator"
    sleep 0.05
  done
}

# The value of a key in one line of JSON output: json_value KEY <FILE.
json_value() {
  sed -n "s/^  \"$1\": \(.*[^,]\),\{0,1\}\$/\1/p" | head -1
}

expect_code() {
  local wanted=$1 code=0
  shift
  "$@" >"$scratch/out" 2>"$scratch/err" || code=$?
  [ "$code" = "$wanted" ] || { cat "$scratch/out" "$scratch/err" >&2; fail "'$*' ended with $code, not $wanted"; }
}
