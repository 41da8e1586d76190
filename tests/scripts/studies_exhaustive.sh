# The studies of this tree run to their end, on models too small and trainings too short to learn anything.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/shipped_studies.bash"

small=(--set model.d_model=8 --set model.layers=1 --set train.length=16 --set train.batch=2)

shipped run quickstart "${small[@]}" --set train.base_steps=4 --set train.arm_steps=4 --set train.probe_steps=1 >"$scratch/out" ||
  fail "quickstart did not run"
shipped run pillars "${small[@]}" --set model.d_as_mask=7 --set model.d_as_mask_all=6 --epochs 0.02 --set train.base_epochs=0.01 \
  --set 'seeds=[0, 1]' >"$scratch/out" || { cat "$scratch/out" >&2; fail "pillars did not run"; }

run=$(echo "$project"/runs/pillars-*)
for figure in flops-accuracy parameters-accuracy allocation layer-contributions training-curves validation-curves impact-rank \
  measured/latency-accuracy; do
  [ -s "$run/plots/$figure.png" ] && [ -s "$run/plots/$figure.svg" ] || fail "figure $figure is missing"
done
for title in 'Factorial effects' 'What each factor explains' Targets Convergence 'Orders found' Masks Allocation \
  'Layer contributions' 'What failed' 'How to replay'; do
  grep -q "^## $title\$" "$run/RESEARCH_REPORT.md" || fail "the report has no section '$title'"
done
grep -q 'over the sum' "$run/RESEARCH_REPORT.md" || fail "the report does not say what is over the sum"
grep -q '^Nothing failed' "$run/RESEARCH_REPORT.md" || fail "something failed"
[ -s "$run/files/all/seed-1/scan_order.npy" ] || fail "the orders were not written"
shipped run pillars "${small[@]}" --set model.d_as_mask=7 --set model.d_as_mask_all=6 --epochs 0.02 --set train.base_epochs=0.01 \
  --set 'seeds=[0, 1]' | grep -q 'finished before; nothing was evaluated' || fail "running again evaluated something"
