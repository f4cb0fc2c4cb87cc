#!/usr/bin/env bash
# numpy.save of the small floats of ml_dtypes: float8_e5m2 gives a file that numpy.load refuses; the others come back as
# raw bytes.
#
# Seen with numpy 2.4.6 and ml_dtypes 0.6.0:
#   float8_e5m2    is written as '<f1'; numpy.load raises ValueError: descr is not a valid dtype descriptor: '<f1'
#   float8_e4m3fn  is written as '<V1', like every other 8-bit, 6-bit and 4-bit type: numpy.load gives void bytes,
#   float4_e2m1fn  without an error, and the header does not say which of the types they were
#   bfloat16       is written as '<V2': void pairs of bytes
# ml_dtypes registers float8_e5m2 with NumPy's kind 'f', the others with kind 'V', and the header of a .npy file holds
# the kind and the size alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 ml_dtypes==0.6.0
"$folder/venv/bin/python" - <<'PY'
import io

import ml_dtypes
import numpy as np


def round_trip(name):
    file = io.BytesIO()
    np.save(file, np.ones(3, getattr(ml_dtypes, name)))
    descr = eval(file.getvalue()[10:].split(b"\n")[0])["descr"]
    file.seek(0)
    try:
        return descr, np.load(file).dtype.kind
    except ValueError as error:
        return descr, f"ValueError: {error}"


seen = {name: round_trip(name) for name in ("float8_e5m2", "float8_e4m3fn", "float8_e4m3", "float4_e2m1fn", "bfloat16")}
for name, (descr, loaded) in seen.items():
    print(f"{name:14} {descr}  {loaded}")
e5m2, others = seen["float8_e5m2"], [seen[name] for name in ("float8_e4m3fn", "float8_e4m3", "float4_e2m1fn")]
assert e5m2[0] == "<f1" and e5m2[1].startswith("ValueError"), "float8_e5m2 behaves otherwise now"
assert others == 3 * [("<V1", "V")], "the one-byte types behave otherwise now"
assert seen["bfloat16"] == ("<V2", "V"), "bfloat16 behaves otherwise now"
PY
