#!/usr/bin/env bash
# check.sh BUILD: duet.torch beside PyTorch and pytorch-metric-learning, and its types. PyTorch's packages take 6 GB in
# BUILD/torch_venv, which is kept. Where they cannot be had: skipped (77), a failure under CI.
set -euo pipefail
build=$1
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../virtual_environment.sh"
virtual_environment torch "$here/requirements.txt" "$build"
export PYTHONPATH=$build/python PYTHONDONTWRITEBYTECODE=1
"$environment/bin/python" -m pytest -q -p no:cacheprovider -W ignore::DeprecationWarning "$here"
cd "$build/python"
"$environment/bin/python" -m mypy --strict --cache-dir "$build/mypy_torch" duet
