#!/usr/bin/env bash
# safetensors.numpy of version 0.8.0 writes the memory of a transposed array, not its values; 0.7.0 writes the values.
# Neither says anything.
#
# Seen with numpy 2.4.6, x = [[0, 1, 2], [3, 4, 5]]:
#   0.7.0  load(save({"x": x.T}))["x"] = [[0, 3], [1, 4], [2, 5]]
#   0.8.0  load(save({"x": x.T}))["x"] = [[0, 1], [2, 3], [4, 5]], the right shape and the wrong order
# A file of column-major features is read without an error and holds other rows. Reported to safetensors as issue 825.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
for version in 0.7.0 0.8.0; do
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 safetensors==$version
  "$folder/venv/bin/python" - <<'PY'
import numpy as np
import safetensors
from safetensors.numpy import load, save

x = np.arange(6, dtype=np.float32).reshape(2, 3)
plain = load(save({"x": x.T}))["x"].tolist()
print(safetensors.__version__, "x.T:", plain)
right, memory = x.T.tolist(), x.reshape(3, 2).tolist()
assert plain == {"0.7.0": right, "0.8.0": memory}[safetensors.__version__], "behaves otherwise now"
PY
done
