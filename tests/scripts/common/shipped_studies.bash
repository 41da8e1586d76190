# The studies of this tree on a text made here: two domains.
[ -e "$BUILD_DIR/lib/colonnade/train.plugin.so" ] || { echo "skipped: this build has no plugins with tensors"; exit 77; }

project=$(make_project studies)
mkdir "$scratch/text"
for domain in 1 2; do
  awk -v seed=$domain 'BEGIN { srand(seed); for (i = 0; i < 4000; ++i) printf "%s%s", substr("abcdefghij", 1 + int(rand() * 10), 3), i % 9 == 8 ? "\n" : " " }' \
    >"$scratch/text/$domain.txt"
done

# shipped COMMAND STUDY [OPTIONS]
shipped() {
  local command=$1 study=$2
  shift 2
  host "$project" "$command" "$SOURCE_DIR/studies/$study" --set text.path="$scratch/text" "$@"
}
