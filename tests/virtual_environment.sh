# Sourced by tests that run other programs' readers: virtual_environment NAME REQUIREMENTS FOLDER puts the path of a
# virtual environment with these packages, FOLDER/NAME_venv, into $environment. It is kept, and made anew where
# REQUIREMENTS has changed. Where the packages cannot be had: the test is skipped (77), a failure under CI.
virtual_environment() {
  environment=$3/$1_venv
  if cmp -s "$2" "$environment/made"; then return; fi
  rm -rf "$environment"
  if ! { python3 -m venv "$environment" && "$environment/bin/pip" install -q -r "$2"; } >"$environment.log" 2>&1; then
    tail -n 3 "$environment.log" >&2
    echo "skipped: $1 cannot be installed" >&2
    [ "${CI:-}" = true ] && exit 1
    exit 77
  fi
  cp "$2" "$environment/made"
}
