# No environment, closed or full standard streams, a reader that leaves, a full disk, a folder that cannot be written: a clear message
# and the right exit code, and nothing that was computed is lost.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/lone_host.bash"

make_lone_host
mounted=""
trap '[ -z "$mounted" ] || umount "$mounted"; rm -rf "$scratch"' EXIT

write_study() {
  cat >"$1/study/study.lua" <<'LUA'
local col = require "colonnade"
local arms = {}
for i = 1, 12 do arms[i] = { name = "arm" .. i, model = col.bytes { count = 90000 + i }:sum_bytes {} } end
return col.study { name = "adversity", arms = arms }
LUA
}
forget() {
  rm -rf "$1/runs" "$1/.colonnade/store"
}
whole_journal() {
  ! grep -qv '^{"crc"' "$1"/runs/*/journal.jsonl || fail "$2: something else was printed into the journal"
}

project=$(make_project streams)
write_study "$project"
run_study "$project" >"$scratch/out" 2>&1 || { cat "$scratch/out" >&2; fail "the undisturbed run failed"; }
copy_results "$project" "$scratch/reference"

forget "$project"
(cd "$project" && env -i "$COLONNADE" run study --plugin "$good_plugin") >"$scratch/out" 2>&1 || fail "without an environment the run fails"
same_results "$project" "$scratch/reference" "without an environment"

forget "$project"
(run_study "$project" 2>&-) >"$scratch/out" || fail "with standard error closed the run fails"
whole_journal "$project" "standard error closed"
same_results "$project" "$scratch/reference" "with standard error closed"

forget "$project"
(run_study "$project" <&- >&- 2>&-) && fail "with its output closed the run claims success"
whole_journal "$project" "all streams closed"
same_results "$project" "$scratch/reference" "with all streams closed"

forget "$project"
expect_code 3 bash -c 'cd "$0" && exec "$1" run study --plugin "$2" >/dev/full' "$project" "$COLONNADE" "$good_plugin"
grep -q 'cannot write all output: No space left on device' "$scratch/err" || fail "a full output is not named"
same_results "$project" "$scratch/reference" "with a full output"

forget "$project"
run_study "$project" 2>"$scratch/err" | true
same_results "$project" "$scratch/reference" "with a reader that left"

# The rest needs a file system of its own.
project=$(make_project disk)
if ! mount -t tmpfs -o size=600k tmpfs "$project" 2>/dev/null; then
  echo "file systems cannot be mounted here: full disks and read-only folders were left out"
  exit 0
fi
mounted=$project
make_project disk >/dev/null
write_study "$project"
expect_code 3 run_study "$project"
grep -q 'No space left on device' "$scratch/err" || fail "a full disk is not named"
[ -z "$(ls -A "$project/.colonnade/store/tmp")" ] || fail "a full disk leaves half files"
mount -o remount,size=20m "$project"
expect_code 0 run_study "$project" --json
[ "$(json_value nodes_found <"$scratch/out")" -gt 0 ] || fail "what was computed before the disk was full is lost"
same_results "$project" "$scratch/reference" "after a full disk"

mount -o remount,ro "$project"
expect_code 0 run_study "$project"
grep -q 'finished before' "$scratch/out" || fail "a finished run cannot be read from a read-only folder"
for command in "ls" "show last" "plan study --plugin $good_plugin" "diff last last"; do
  # shellcheck disable=SC2086
  expect_code 0 host "$project" $command
done
for command in "replay last" "report last" "run study --plugin $good_plugin --set threads=2"; do
  # shellcheck disable=SC2086
  expect_code 3 host "$project" $command
  grep -q 'Read-only file system' "$scratch/err" || fail "$command: the read-only folder is not named"
done
