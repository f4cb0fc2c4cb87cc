#!/usr/bin/env bash
# pytrec_eval ranks by the scores as float32, and documents of one score by their names, the last name first. Two Python
# floats that differ by less than float32 can hold are such a tie, so that MAP depends on what the documents are called.
#
# Seen with pytrec_eval-terrier 0.5.11, one query, one relevant document and one that is not, scores 0.5 + d and 0.5:
#   d = 1e-6          MAP 1.0, whatever the names
#   d = 1e-8          MAP 0.5 where the relevant document is "a" and the other "b", 1.0 where the names are exchanged
#   d = -1e-8         MAP 1.0 where the relevant document is "b", though it scores less
# Cosine similarities of near copies, which float64 tells apart, come out as ties.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pytrec-eval-terrier==0.5.11
"$folder/venv/bin/python" - <<'PY'
import pytrec_eval


def mean_average_precision(relevant, other, difference):
    judged = {"query": {relevant: 1, other: 0}}
    run = {"query": {relevant: 0.5 + difference, other: 0.5}}
    return pytrec_eval.RelevanceEvaluator(judged, {"map"}).evaluate(run)["query"]["map"]


expected = {1e-6: (1.0, 1.0), 1e-8: (0.5, 1.0), -1e-8: (0.5, 1.0), -1e-6: (0.5, 0.5)}
for difference, maps in expected.items():
    found = mean_average_precision("a", "b", difference), mean_average_precision("b", "a", difference)
    print(f"difference {difference}: relevant is a {found[0]}, relevant is b {found[1]}")
    assert found == maps, "behaves otherwise now"
PY
