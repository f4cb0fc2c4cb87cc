#!/usr/bin/env bash
# IndexFlatIP of FAISS: of rows with equal inner products the first one depends on k. It keeps the k lowest numbers and
# lists them from the highest down, so that a search for 1 and a search for 5 disagree about the nearest row.
#
# Seen with faiss-cpu 1.15.1 and numpy 2.4.6, one query, five equal rows:
#   IndexFlatIP   k = 1: 0    k = 2: 1 0    k = 3: 2 1 0    k = 5: 4 3 2 1 0
#   IndexFlatL2   k = 1: 0    k = 2: 0 1    k = 3: 0 1 2    k = 5: 0 1 2 3 4
#   IndexFlatIP of the scores 0 1 1 2 1   k = 3: 3 2 1    k = 4: 3 4 2 1
# Unit rows ranked by inner products have such ties wherever data holds copies, and recall@1 read from the first column
# of a longer search is then not that of a search for 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 faiss-cpu==1.15.1
"$folder/venv/bin/python" - <<'PY'
import faiss
import numpy as np


def found(index, rows, k):
    index.add(rows)
    return index.search(np.ones((1, rows.shape[1]), np.float32), k)[1][0].tolist()


equal, mixed = np.ones((5, 4), np.float32), np.array([[0], [1], [1], [2], [1]], np.float32)
for k in (1, 2, 3, 5):
    inner, euclidean = found(faiss.IndexFlatIP(4), equal, k), found(faiss.IndexFlatL2(4), equal, k)
    print(f"k = {k}: IndexFlatIP {inner}, IndexFlatL2 {euclidean}; mixed {found(faiss.IndexFlatIP(1), mixed, k)}")
    assert inner == list(range(k))[::-1] and euclidean == list(range(k)), "behaves otherwise now"
assert found(faiss.IndexFlatIP(1), mixed, 3) == [3, 2, 1], "behaves otherwise now"
assert found(faiss.IndexFlatIP(1), mixed, 4) == [3, 4, 2, 1], "behaves otherwise now"
PY
