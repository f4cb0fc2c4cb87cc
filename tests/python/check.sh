#!/usr/bin/env bash
# check.sh BUILD [EMULATED]: the Python package of a build folder: its types (mypy), its tests on the CPU, and with the
# emulated library, which EMULATED names, its tests on the device. Where the packages for it cannot be had: skipped
# (77), a failure under CI.
set -euo pipefail
build=$1 emulated=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../virtual_environment.sh"
virtual_environment python "$here/requirements.txt" "$build"
export PYTHONPATH=$build/python PYTHONDONTWRITEBYTECODE=1
python=$environment/bin/python
"$python" -m pytest -q -p no:cacheprovider "$here"
if [ -n "$emulated" ]; then
  DUET_LIBRARY=$emulated DUET_TEST_DEVICE=cuda "$python" -m pytest -q -p no:cacheprovider "$here"
fi
# duet.torch imports PyTorch, which is not here: its types are checked beside its own tests.
cd "$build/python"
"$python" -m mypy --strict --cache-dir "$build/mypy" --exclude duet/torch duet
