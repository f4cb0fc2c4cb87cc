#!/usr/bin/env bash
# nccl_package.sh BUILD: the virtual environment with NCCL, BUILD/nccl_venv, which is kept. Where the package cannot be
# had: skipped (77), a failure under CI.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
. "$here/../virtual_environment.sh"
virtual_environment nccl "$here/nccl_requirements.txt" "$1"
