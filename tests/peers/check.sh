#!/usr/bin/env bash
# check.sh BUILD: docs/PEERS.md's rows of torchmetrics, ranx, FAISS and pytorch-metric-learning's measures beside
# duet's. Their packages take 0.5 GB in BUILD/peers_venv, which is kept, beside PyTorch's in BUILD/torch_venv. Where
# they cannot be had: skipped (77), a failure under CI.
set -euo pipefail
build=$1
here=$(cd "$(dirname "$0")" && pwd)
environment=$("$here/../torch/packages.sh" "$build")
of_torch=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
. "$here/../virtual_environment.sh"
export PYTHONPATH=$of_torch  # pip sees PyTorch there, and does not install it again
virtual_environment peers "$here/requirements.txt" "$build"
export PYTHONPATH=$build/python:$of_torch PYTHONDONTWRITEBYTECODE=1
"$environment/bin/python" -m pytest -q -p no:cacheprovider -W ignore "$here"
