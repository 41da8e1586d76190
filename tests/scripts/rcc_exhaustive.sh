# The study rcc runs to its end on the default pictures and a model that learns nothing. So there is no gain to keep: retention is
# undefined and says so, and no stage passes a guard.
. "$(dirname "$0")/common/host.bash"
[ -e "$BUILD_DIR/lib/colonnade/train.plugin.so" ] || { echo "skipped: this build has no plugins with tensors"; exit 77; }
[ -e "$SOURCE_DIR/.deps/pictures/digits.csv.gz" ] || { echo "skipped: bootstrap has not fetched the default pictures"; exit 77; }

project=$(make_project rcc)
small=(--set model.width=32 --set model.layers=1 --set train.base_steps=4 --set train.tune_steps=4 --set train.batch=8
  --set 'levels=[0.8]' --set ablation_level=0.8)
host "$project" run "$SOURCE_DIR/studies/rcc" "${small[@]}" >"$scratch/out" || { cat "$scratch/out" >&2; fail "rcc did not run"; }
run=$(run_folder "$project")
grep -q '^Nothing failed' "$run/RESEARCH_REPORT.md" || fail "something failed"
for title in 'Which stage lost what' Guards 'The orderings one by one and shared'; do
  grep -q "^## $title\$" "$run/RESEARCH_REPORT.md" || fail "the report has no section '$title'"
done
grep -q 'rolled back | retention is undefined' "$run/RESEARCH_REPORT.md" || fail "the report does not say what was rolled back and why"
grep -q '^| vision/retrieval | 6 | 6 |$' "$run/RESEARCH_REPORT.md" || fail "the report does not count what is shared"
grep -q 'One by one their evaluations take' "$run/MEASURED_REPORT.md" || fail "what sharing saved is not measured"
host "$project" run "$SOURCE_DIR/studies/rcc" "${small[@]}" | grep -q 'finished before; nothing was evaluated' ||
  fail "running again evaluated something"
host "$project" replay "$(basename "$run")" >"$scratch/out" || { cat "$scratch/out" >&2; fail "a replay gave something else"; }
