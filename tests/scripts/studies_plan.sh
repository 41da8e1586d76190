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

# Nothing reads the pictures before a run.
touch "$scratch/pictures"
host "$project" plan "$SOURCE_DIR/studies/rcc" --profile pilot --set emoji.font_file="$scratch/pictures" \
  --set emoji.names_file="$scratch/pictures" --set digits.file="$scratch/pictures" >"$scratch/plan"
has_arms tuned 'empty patch' 'lora 1' 'svd 4' 'dare 0.9' 'seeded dare 0.99' 'top-k signs 0.995' 'dare-nullu-alphaedit 0.9' \
  'alphaedit-nullu-dare 0.995' 'only nullu-alphaedit' 'only dare-nullu-alphaedit 0.95' guarded unguarded
[ "$(grep -c '^[a-z]*-[a-z]*-[a-z]* 0\.' "$scratch/plan")" = 24 ] || fail "there are not 24 orderings"
# Each of 24 orderings has three stages; before dropping what comes first is one for all levels.
for counted in 'dare/dare  *24  *24' 'nullu/truncate  *24  *14' 'alphaedit/compensate  *24  *14'; do
  grep -q "^$counted$" "$scratch/plan" || fail "the plan does not count $counted"
done

expect_code 2 shipped plan pillars --profile pilto
grep -q "did you mean 'pilot'" "$scratch/err" || fail "the nearest profile was not named"
