"""What a model's ONNX file says, in onnxruntime, beside what `duet embed` wrote of the same rows.

check.py MODEL.onnx FEATURES EMBEDDINGS: folders with a .npy a modality. The file passes onnx's own checker; every
embedding is within 1e-5 of duet's; a row of zeros has an embedding of finite numbers; a modality may have no row.
"""
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-5  # of unit rows: two runtimes add the products of a layer in another order

path, features, embeddings = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
model = onnx.load(path)
onnx.checker.check_model(model, full_check=True)
assert model.opset_import[0].version <= 20 and model.ir_version <= 10
session = onnxruntime.InferenceSession(path)
widths = {each.name: each.shape[1] for each in session.get_inputs()}
assert len(widths) == 2
for name in widths:

    def run(rows):
        given = {each: np.zeros((0, width), np.float32) for each, width in widths.items()}
        return session.run([name + "_embedding", name + "_logits"], {**given, name: rows})

    rows = np.load(features / f"{name}.npy").astype(np.float32)
    expected = np.load(embeddings / f"{name}.npy")
    found, logits = run(rows)
    assert found.shape == expected.shape and len(logits) == len(rows)
    difference = float(np.abs(found - expected).max())
    assert difference <= TOLERANCE, f"{name}: {difference} from duet's embeddings"
    zeros, _ = run(np.zeros((1, widths[name]), np.float32))
    assert np.isfinite(zeros).all(), f"{name}: the embedding of a row of zeros is not finite"
    print(f"{name}: {found.shape[0]} x {found.shape[1]}, largest difference {difference:.1e}")
