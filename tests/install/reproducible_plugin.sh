# Builds the same plugins in two folders: the files must be the same bytes, since results are keyed by them.
set -euo pipefail

[ -z "${SANITIZE_FLAGS:-}" ] || { echo "skipped: sanitizers write the folder of the sources into what they compile"; exit 77; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix="$scratch/prefix"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

"$CMAKE" --install "$BUILD_DIR" --prefix "$prefix" >"$scratch/install.log" || fail "cmake --install: $(tail -n 3 "$scratch/install.log")"
for folder in one another/with/a/longer/name; do
  mkdir -p "$scratch/$folder"
  cp -r "$SOURCE_DIR/tests/fixtures/out_of_tree" "$scratch/$folder/project"
  # ccache would hand out the first folder's objects for the second and hide a difference.
  CCACHE_DISABLE=1 "$CMAKE" -S "$scratch/$folder/project" -B "$scratch/$folder/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_CXX_FLAGS="${SANITIZE_FLAGS:-}" >"$scratch/log" 2>&1 ||
    fail "configuring: $(cat "$scratch/log")"
  CCACHE_DISABLE=1 "$CMAKE" --build "$scratch/$folder/build" >"$scratch/log" 2>&1 ||
    fail "building: $(cat "$scratch/log")"
done
compared=0
for first in "$scratch"/one/build/*.plugin.so; do
  name=${first##*/}
  cmp "$first" "$scratch/another/with/a/longer/name/build/$name" ||
    fail "the same source of $name built in two folders gives different bytes"
  if grep -qE "$scratch/(one|another)/" "$first"; then fail "$name holds the folder that it was built in"; fi
  compared=$((compared + 1))
done
[ "$compared" -ge 1 ] || fail "no plugin was built"
echo "the same bytes from two folders, $compared plugins"
