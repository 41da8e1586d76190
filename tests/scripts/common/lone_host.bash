# A host that sees no plugin but the one it is given: describing the others anew in every trial would take most of the time.
make_lone_host() {
  mkdir -p "$scratch/host/bin" "$scratch/host/lib"
  cp "$COLONNADE" "$scratch/host/bin/"
  cp -L "$BUILD_DIR"/lib/libcolonnade_sdk.so* "$scratch/host/lib/"
  ln -s "$BUILD_DIR/share" "$scratch/host/share"
  COLONNADE=$scratch/host/bin/colonnade
}
