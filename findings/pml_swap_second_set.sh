#!/usr/bin/env bash
# TripletMarginLoss(swap=True) of pytorch-metric-learning, with positives and negatives in a second set (ref_emb), takes
# as the distance of positive p and negative n the one from row p of the FIRST set to row n of the second: the row that
# happens to have the positive's number. Where the second set has more rows than the first it raises IndexError; where it
# has fewer the loss is of other pairs, and nothing says so. Memory banks and cross-modal training use a second set.
#
# Seen with pytorch-metric-learning 2.9.0 and torch 2.15.0, 6 rows against 5, margin 0.3:
#   loss                                             0.842897
#   by the distance within the second set            0.862598
#   by the distance from row p of the first set      0.842897
# and with 6 rows against 7: IndexError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.15.0 \
  pytorch-metric-learning==2.9.0
"$folder/venv/bin/python" - <<'PY'
import torch
from pytorch_metric_learning.losses import TripletMarginLoss

torch.manual_seed(0)


def rows(count):
    return torch.nn.functional.normalize(torch.randn(count, 4).double())


first, second = rows(6), rows(5)
first_labels, second_labels = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 2, 0, 1])
criterion = TripletMarginLoss(margin=0.3, swap=True)
loss = criterion(first, first_labels, ref_emb=second, ref_labels=second_labels).item()

same = first_labels[:, None] == second_labels[None]
a, p, n = torch.where(same[:, :, None] & ~same[:, None, :])


def expected(positive_to_negative):
    far = torch.minimum((first[a] - second[n]).norm(dim=1), positive_to_negative)
    gaps = torch.relu((first[a] - second[p]).norm(dim=1) - far + 0.3)
    return gaps[gaps > 0].mean().item()


within = expected((second[p] - second[n]).norm(dim=1))
across = expected((first[p] - second[n]).norm(dim=1))
print(f"loss {loss:.6f}, within the second set {within:.6f}, from row p of the first set {across:.6f}")
assert abs(loss - across) < 1e-9 and abs(loss - within) > 0.01, "behaves otherwise now"

try:
    criterion(first, first_labels, ref_emb=rows(7), ref_labels=torch.tensor([0, 1, 2, 0, 1, 2, 0]))
except IndexError as error:
    print(f"7 rows: IndexError: {error}")
else:
    raise AssertionError("behaves otherwise now")
PY
