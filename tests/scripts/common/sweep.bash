# Ends the host at the k-th call of a kind, or lets that call fail, runs the same command again, and compares.
# sweep [COUNT]: COUNT trials by lot; without it every k of every kind.
# strace disturbs the coordinator, which makes its k-th call of a kind before any of its workers does; workers are disturbed by
# faults.c, preloaded.
. "$(dirname "${BASH_SOURCE[0]}")/lone_host.bash"
. "$(dirname "${BASH_SOURCE[0]}")/small_study.bash"

coordinator_calls=(rename,renameat,renameat2 fsync,fdatasync write,pwrite64 unlink,unlinkat,rmdir mkdir,mkdirat)
worker_calls=(rename fsync,fdatasync write send unlink,rmdir mkdir)
coordinator_kinds=(signal=SIGKILL error=ENOSPC error=EIO)
worker_kinds=(before after 28 5)  # the numbers of ENOSPC and EIO
killed_code=137
# Of a build under sanitizers: leaks cannot be looked for under strace, and faults.c is loaded before the sanitizer.
export ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0

# Not with --seccomp-bpf: it lets strace inject errors, but no signals.
run_traced() {
  local project=$1 workers=$2
  shift 2
  (cd "$project" && exec strace "$@" "$COLONNADE" run study --plugin "$good_plugin" --workers "$workers")
}

# With one worker, so that it does everything that there is to do.
run_preloaded() {
  local project=$1 calls=$2 kind=$3 k=$4
  (export LD_PRELOAD="$scratch/faults.so" FAULT_CALLS=",$calls," FAULT_KIND="$kind" FAULT_AT="$k" FAULT_MARK="$project/struck"
    cd "$project" && exec "$COLONNADE" run study --plugin "$good_plugin" --workers 1)
}

# trial PROJECT WHO CALLS KIND K: false if the run made fewer such calls.
trial() {
  local project=$1 who=$2 calls=$3 kind=$4 k=$5 code=0 what="$2 $3 $4 at call $5"
  rm -rf "$project/.colonnade" "$project/runs" "$project/struck"
  mkdir -p "$project/.colonnade"
  if [ "$who" = coordinator ]; then
    run_traced "$project" 2 -f -o "$project/strace" -e "trace=$calls" -e "inject=$calls:$kind:when=$k" >"$project/trial" 2>&1 || code=$?
    # strace ends as the coordinator ended; killed, it writes no more to its file.
    { [ "$code" != "$killed_code" ] && ! grep -q INJECTED "$project/strace"; } || touch "$project/struck"
  else
    run_preloaded "$project" "$calls" "$kind" "$k" >"$project/trial" 2>&1 || code=$?
  fi
  no_processes "$project"
  [ -e "$project/struck" ] || return 1
  # A call that failed is an error with a reason, or was of no consequence; never a crash. A worker that dies is tried again.
  case $who-$kind in
    coordinator-signal=*) ;;
    worker-before | worker-after) [ "$code" = 0 ] || { cat "$project/trial" >&2; fail "$what: the coordinator ended with $code"; } ;;
    *) [ "$code" -le 3 ] || { cat "$project/trial" >&2; fail "$what ended the host with $code"; } ;;
  esac
  code=0
  run_study "$project" --workers 2 >"$project/again" 2>&1 || code=$?
  [ "$code" = 0 ] || { cat "$project/trial" "$project/again" >&2; fail "$what: the same command then ends with $code"; }
  same_results "$project" "$scratch/reference" "$what"
}

# Every k of one kind, until there are no such calls any more.
sweep_kind() {
  local project k=1
  project=$(make_project "$1-$2-$3")
  write_small_study "$project"
  while trial "$project" "$@" "$k"; do k=$((k + 1)); done
  local reached=$((k - 1)) count
  count=$(count_calls "$1" "$2")
  # How often something is written varies a little from run to run.
  [ $((reached * 4)) -ge $((count * 3)) ] || fail "$1 $2 $3: only $reached calls were disturbed, of $count"
  echo "$1 $2 $3: $reached calls disturbed, each recovered"
  rm -rf "$project"
}

list_kinds() {
  local calls kind
  for calls in "${coordinator_calls[@]}"; do
    for kind in "${coordinator_kinds[@]}"; do echo "coordinator $calls $kind"; done
  done
  for calls in "${worker_calls[@]}"; do
    for kind in "${worker_kinds[@]}"; do echo "worker $calls $kind"; done
  done
}

# How many calls of the set CALLS WHO made in the undisturbed run.
count_calls() {
  local who=$1 pattern="^(${2//,/|})(to)?\\(" file count most=0
  local files=("$scratch"/counted.*)
  if [ "$who" = coordinator ]; then files=("${files[0]}"); else files=("${files[@]:1}"); fi
  for file in "${files[@]}"; do
    count=$(grep -cE "$pattern" "$file" || true)
    [ "$count" -le "$most" ] || most=$count
  done
  echo "$most"
}

# COUNT trials by lot of all that there are.
sweep_sample() {
  local project who calls kind count
  project=$(make_project sample)
  write_small_study "$project"
  while read -r who calls kind; do
    count=$(count_calls "$who" "$calls")
    for ((k = 1; k <= count; ++k)); do echo "$who $calls $kind $k"; done
  done < <(list_kinds) >"$scratch/trials"
  shuf -n "$1" "$scratch/trials" >"$scratch/chosen"
  while read -r -a chosen; do
    trial "$project" "${chosen[@]}" || { echo "${chosen[*]}: not reached this time"; continue; }
    echo "${chosen[*]}: recovered"
  done <"$scratch/chosen"
  echo "$1 of $(wc -l <"$scratch/trials") trials"
}

sweep_all() {
  local jobs=0 cores
  cores=$(nproc)
  while read -r -a kind; do
    if [ "$jobs" -ge "$cores" ]; then
      wait -n || fail "a sweep found something"
      jobs=$((jobs - 1))
    fi
    sweep_kind "${kind[@]}" </dev/null &
    jobs=$((jobs + 1))
  done < <(list_kinds)
  while [ "$jobs" -gt 0 ]; do
    wait -n || fail "a sweep found something"
    jobs=$((jobs - 1))
  done
}

sweep() {
  local project=$scratch/undisturbed
  make_lone_host
  "${CC:-cc}" -shared -fPIC -O1 -o "$scratch/faults.so" "$(dirname "${BASH_SOURCE[0]}")/faults.c" || fail "faults.c does not compile"
  make_project undisturbed >/dev/null
  write_small_study "$project"
  run_traced "$project" 1 -ff -o "$scratch/counted" -e trace="$(IFS=,; echo "${coordinator_calls[*]}"),sendto" >"$scratch/out" 2>&1 ||
    { cat "$scratch/out" >&2; fail "the undisturbed run failed"; }
  copy_results "$project" "$scratch/reference"
  if [ $# = 0 ]; then sweep_all; else sweep_sample "$1"; fi
}
