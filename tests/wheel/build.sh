#!/usr/bin/env bash
# build.sh FOLDER: FOLDER/duet-VERSION-py3-none-manylinux_2_36_x86_64.whl, with the libraries that it needs beside the
# system's inside. Prints the file's name.
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../virtual_environment.sh"
virtual_environment wheel "$here/requirements.txt" "$folder"
export PATH=$environment/bin:$PATH
rm -rf "$folder"/*.whl "$folder/plain"
# The compiler by the name, and with the flags, by which the other builds call it: a cache then has most of it.
export CC=cc CXX=c++
pip wheel -q --no-deps --no-build-isolation -C "cmake.define.DUET_WERROR=${DUET_WERROR:-OFF}" -w "$folder/plain" \
  "$here/../../python" >&2
auditwheel repair --only-plat --plat manylinux_2_36_x86_64 -w "$folder" "$folder"/plain/*.whl >&2
auditwheel show "$folder"/*.whl >&2
echo "$folder"/*.whl
