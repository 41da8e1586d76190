# Installs Colonnade into an empty folder and builds two plugins against it that know nothing of the source tree.
set -euo pipefail

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix="$scratch/prefix"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

"$CMAKE" --install "$BUILD_DIR" --prefix "$prefix" >"$scratch/install.log" || fail "cmake --install: $(tail -n 3 "$scratch/install.log")"
for file in include/colonnade/plugin.h lib/libcolonnade_sdk.so lib/cmake/Colonnade/ColonnadeConfig.cmake; do
  [ -e "$prefix/$file" ] || fail "$file was not installed"
done
# What is installed finds its libraries by places relative to itself.
for file in "$prefix"/lib/*.so "$prefix"/lib/colonnade/*.so "$prefix"/bin/*; do
  [ -f "$file" ] || continue
  if readelf -d "$file" | grep -E 'RPATH|RUNPATH' | grep -E '\[/|:/'; then fail "$file has an absolute run path"; fi
done

# A copy, so that nothing beside it can be reached.
cp -r "$SOURCE_DIR/tests/fixtures/out_of_tree" "$scratch/project"
"$CMAKE" -S "$scratch/project" -B "$scratch/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror ${SANITIZE_FLAGS:-}" \
  >"$scratch/configure.log" 2>&1 || fail "configuring: $(cat "$scratch/configure.log")"
"$CMAKE" --build "$scratch/build" --parallel 2 >"$scratch/build.log" 2>&1 || fail "building: $(tail -n 40 "$scratch/build.log")"

for host_folder in kernel sdk plugins tests; do
  if grep -q "$SOURCE_DIR/$host_folder/" "$scratch/build/compile_commands.json"; then
    fail "the plugin was compiled with $host_folder/ of the source tree"
  fi
done

stamp() { readelf -p colonnade_stamp "$1" | sed -n 's/\\n//; s/.*\(name=\|version=\|torch=\|requires=\)/\1/p'; }
plugins=("$scratch/build/median.plugin.so")
stamp "${plugins[0]}" | grep -qx 'version=1.2.0' || fail "median's stamp: $(stamp "${plugins[0]}")"
stamp "${plugins[0]}" | grep -qx 'torch=none' || fail "median's stamp: $(stamp "${plugins[0]}")"
if [ -e "$prefix/lib/libcolonnade_tensor.so" ]; then
  plugins+=("$scratch/build/spectrum.plugin.so")
  stamp "${plugins[1]}" | grep -qE '^torch=[0-9]+\.[0-9]+' || fail "spectrum's stamp: $(stamp "${plugins[1]}")"
  stamp "${plugins[1]}" | grep -qx 'requires=median' || fail "spectrum's stamp: $(stamp "${plugins[1]}")"
fi
for plugin in "${plugins[@]}"; do
  [ -f "$plugin" ] || fail "$plugin was not built"
  # Every library and symbol is found, as the loader sees it.
  if ldd -r "$plugin" 2>&1 | grep -E 'not found|undefined symbol'; then fail "$plugin does not load"; fi
done
echo "installed, and built ${#plugins[@]} plugins against it"
