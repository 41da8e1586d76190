# The studies of this tree can be planned, with every profile and switch that they name, and have the arms that they promise.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/shipped_studies.bash"

has_arms() {
  local arm
  for arm in "$@"; do grep -q "^$arm  " "$scratch/plan" || { cat "$scratch/plan" >&2; fail "there is no arm '$arm'"; }; done
}
nodes() { sed -n 's/^[^:]*: \([0-9]*\) nodes, .*/\1/p' "$scratch/plan"; }

shipped plan quickstart >"$scratch/plan"
has_arms base +scan +mask +peft all

shipped plan pillars --profile pilot >"$scratch/plan"
has_arms base +scan +mask +scan+mask +peft +scan+peft +mask+peft all frozen 'scan identity' 'scan random' 'mask then mask order' \
  'block mask' 'scan then block mask' 'random then block mask' 'mask all sites' 'uniform LoRA' 'uniform IA3' 'LoRA on SSM only' \
  'random allocation' 'dense as +mask' 'dense as mask all'
one_seed=$(nodes)

shipped plan pillars --profile quick_research --set project=mine --epochs 0.5 >"$scratch/plan"
has_arms 'rank = 4' 'temperature = 0.8' 'importance_threshold = 0.3' 'peft_application_ratio = 0.6' 'target_sparsity = 0.7'
grep -q '^mine: ' "$scratch/plan" || fail "the setting 'project' does not name the study"
all=$(nodes)
shipped plan pillars --profile quick_research --disable-grid-search --disable-visualization >"$scratch/plan"
has_arms all
! grep -q '^rank = ' "$scratch/plan" || fail "--disable-grid-search left the grid in"
without=$(nodes)
[ "$one_seed" -lt "$without" ] && [ "$without" -lt "$all" ] || fail "nodes: $one_seed, $without, $all"

expect_code 2 shipped plan pillars --profile pilto
grep -q "did you mean 'pilot'" "$scratch/err" || fail "the nearest profile was not named"
