#!/usr/bin/env bash
# check.sh BUILD: duet.torch beside PyTorch and pytorch-metric-learning, and its types.
set -euo pipefail
build=$1
here=$(cd "$(dirname "$0")" && pwd)
environment=$("$here/packages.sh" "$build")
export PYTHONPATH=$build/python PYTHONDONTWRITEBYTECODE=1
"$environment/bin/python" -m pytest -q -p no:cacheprovider -W ignore::DeprecationWarning "$here"
cd "$build/python"
"$environment/bin/python" -m mypy --strict --cache-dir "$build/mypy_torch" duet
