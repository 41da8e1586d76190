# Cuts journal and lock of a run off and runs the study again: the results are the same.
. "$(dirname "${BASH_SOURCE[0]}")/lone_host.bash"

# Every kind of event once: a trial, something shared, an adaptive arm's decision, the code that it reaches.
write_short_study() {
  cat >"$1/study/study.lua" <<'LUA'
local col = require "colonnade"
return col.study {
  name = "short",
  arms = {
    { name = "draw", model = col.draw {} },
    { name = "adaptive", model = function(trial)
      return col.number { value = col.draw { stream = 1 }:value() > 0.5 and 1.0 or 2.0 }
    end },
  },
  shared = { rows = col.table { rows = 3 }:sum_column {} },
}
LUA
}

# cut_file PROJECT FILE FROM STEP: every STEP-th byte of a file of the run.
cut_file() {
  local project=$1 file=$2 step=$4 folder size count=0
  folder=$(run_folder "$project")
  cp "$folder/$file" "$project/sound"
  size=$(stat -c %s "$project/sound")
  for ((cut = $3; cut < size; cut += step)); do
    head -c "$cut" "$project/sound" >"$folder/$file"
    run_study "$project" >"$project/again" 2>&1 || {
      cat "$project/again" >&2
      fail "$file cut off at byte $cut of $size: the study cannot go on"
    }
    same_results "$project" "$scratch/reference" "$file cut off at byte $cut of $size"
    count=$((count + 1))
  done
  echo "$file: cut off at $count of $size bytes, every time recovered"
}

# truncate_sweep STEP: every STEP-th byte of both files, each file in as many projects as there are cores.
truncate_sweep() {
  local step=$1 cores project file jobs=0
  cores=$(nproc)
  make_lone_host
  project=$(make_project truncated)
  write_short_study "$project"
  run_study "$project" >"$scratch/out" 2>&1 || { cat "$scratch/out" >&2; fail "the undisturbed run failed"; }
  copy_results "$project" "$scratch/reference"
  for file in journal.jsonl lock.json; do
    for ((job = 0; job < cores; ++job)); do
      cp -a "$project" "$scratch/$file-$job"
      cut_file "$scratch/$file-$job" "$file" $((job * step + RANDOM % step)) $((cores * step)) &
      jobs=$((jobs + 1))
    done
    for (( ; jobs > 0; --jobs)); do wait -n || fail "a cut was not recovered from"; done
  done
}
