#!/usr/bin/env bash
# packages.sh BUILD: the virtual environment of these tests. PyTorch's packages take 6 GB in BUILD/torch_venv, which is
# kept. Where they cannot be had: skipped (77), a failure under CI. Prints the folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
. "$here/../virtual_environment.sh"
virtual_environment torch "$here/requirements.txt" "$1"
echo "$environment"
