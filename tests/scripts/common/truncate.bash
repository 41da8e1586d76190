# Cuts journal and lock of a run off and runs the study again: the results are the same.
. "$(dirname "${BASH_SOURCE[0]}")/small_study.bash"

# truncate_sweep STEP: every STEP-th byte of both files.
truncate_sweep() {
  local step=$1 project folder file size count=0
  project=$(make_project truncated)
  write_small_study "$project"
  run_study "$project" >/dev/null 2>&1 || fail "the undisturbed run failed"
  copy_results "$project" "$scratch/reference"
  cp -a "$project" "$scratch/sound"
  folder=$(run_folder "$project")
  for file in journal.jsonl lock.json; do
    size=$(stat -c %s "$folder/$file")
    for ((cut = RANDOM % step; cut < size; cut += step)); do
      cp "$scratch/sound/runs/$(basename "$folder")/$file" "$folder/$file"
      truncate -s "$cut" "$folder/$file"
      run_study "$project" --json >"$scratch/again" 2>"$scratch/messages" || {
        cat "$scratch/messages" >&2
        fail "$file cut off at byte $cut of $size: the study cannot go on"
      }
      same_results "$project" "$scratch/reference"
      count=$((count + 1))
    done
  done
  echo "$count truncations, every one recovered"
}
