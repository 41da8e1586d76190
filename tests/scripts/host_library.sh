# The host itself does not link LibTorch.
. "$(dirname "$0")/common/host.bash"

ldd "$COLONNADE" >"$scratch/libraries"
! grep -E 'libtorch|libc10|libcolonnade_tensor' "$scratch/libraries" || fail "the executable links LibTorch"
grep -q libcolonnade_sdk "$scratch/libraries" || fail "ldd did not list the host's libraries"
