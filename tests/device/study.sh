#!/usr/bin/env bash
# A study on a card: study.sh COLONNADE SCRATCH. Trainings on the device cuda, in f32 and in bf16, each run replayed: every
# value of it, the weights after 200 steps among them, has to come out as the same bytes. Then a few steps on the CPU and on the
# card, whose scores agree up to rounding, as do those of trainings that compute intermediate values again.
set -euo pipefail
colonnade=$(realpath "$1")
scratch=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rm -rf "$scratch"
mkdir -p "$scratch/study/text"
cp "$here"/study/study.* "$scratch/study/"
cat "$here"/../../plugins/*/*.cpp >"$scratch/study/text/code.txt"

run() {
  local project=$1
  shift
  mkdir -p "$scratch/$project/.colonnade"
  (cd "$scratch/$project" && "$colonnade" run ../study "$@") >"$scratch/$project.log" 2>&1 || {
    tail -n 30 "$scratch/$project.log"
    exit 1
  }
}

for precision in f32 bf16; do
  run "$precision" --device cuda --precision "$precision" --workers 1
  echo "study in $precision on the card, then its replay:"
  (cd "$scratch/$precision" && "$colonnade" replay last 2>&1) | tail -n 3
  echo "with intermediate values computed again, bits a byte: $(
    awk -F, '$1 == "more" { kept = $7 } $1 == "recompute" { again = $7 } END { print kept, again, again / kept - 1 }' \
      "$scratch/$precision/runs"/*/results.csv)"
done
for device in cpu cuda; do
  run "few-$device" --device "$device" --steps 20 --workers 1
  echo "20 steps on $device:"
  cut -d, -f1-8 "$scratch/few-$device/runs"/*/results.csv
done
