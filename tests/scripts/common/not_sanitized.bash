# For what a sanitizer changes: times, and processes that are traced.
[ -z "${SANITIZE_FLAGS:-}" ] || { echo "skipped: this build runs under sanitizers"; exit 77; }
