# Ends the host at the k-th call of a kind, or lets that call fail, runs the same command again, and compares.
# sweep STEP: every STEP-th k of each kind; 1 is the whole sweep.
. "$(dirname "${BASH_SOURCE[0]}")/small_study.bash"

sweep_trials=0
sweep_hits=0

# One trial: KIND is a strace injection ("signal=SIGKILL" or "error=ENOSPC"), CALLS a set of calls, K which of them. False if the run
# made fewer.
trial() {
  local project=$1 reference=$2 calls=$3 kind=$4 k=$5 code=0
  rm -rf "$project/.colonnade" "$project/runs"
  mkdir -p "$project/.colonnade"
  (cd "$project" && exec strace -f --seccomp-bpf -o "$scratch/strace" -e "trace=$calls" -e "inject=$calls:$kind:when=$k" \
    "$COLONNADE" run study --plugin "$good_plugin" --workers 2) >"$scratch/trial" 2>&1 || code=$?
  no_processes "$project"
  sweep_trials=$((sweep_trials + 1))
  grep -qE 'killed by SIGKILL|INJECTED' "$scratch/strace" || return 1
  sweep_hits=$((sweep_hits + 1))
  # A call that failed is an error with a reason, or was of no consequence; never a crash.
  case $kind in
    error=*) [ "$code" -lt 126 ] || { cat "$scratch/trial" >&2; fail "$calls:$kind:when=$k ended the host with $code"; } ;;
  esac
  code=0
  run_study "$project" --workers 2 >"$scratch/again" 2>&1 || code=$?
  [ "$code" = 0 ] || { cat "$scratch/trial" "$scratch/again" >&2; fail "after $calls:$kind:when=$k the same command ends with $code"; }
  same_results "$project" "$reference"
}

sweep() {
  local step=$1 project reference=$scratch/reference k calls kind
  project=$(make_project sweep)
  write_small_study "$project"
  run_study "$project" --workers 2 >/dev/null 2>&1 || fail "the undisturbed run failed"
  copy_results "$project" "$reference"
  for calls in rename,renameat,renameat2 fsync,fdatasync write,pwrite64 unlink,unlinkat,rmdir mkdir,mkdirat; do
    for kind in signal=SIGKILL error=ENOSPC error=EIO; do
      k=$((1 + RANDOM % step))
      while trial "$project" "$reference" "$calls" "$kind" "$k"; do k=$((k + step)); done
      echo "$calls $kind: up to call $k"
    done
  done
  echo "$sweep_trials runs, $sweep_hits disturbed; all gave the undisturbed results"
}
