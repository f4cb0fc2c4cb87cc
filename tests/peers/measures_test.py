"""docs/PEERS.md's rows of torchmetrics, ranx, FAISS and pytorch-metric-learning's measures: both on the same input."""
import faiss
import numpy as np
import pytest
import ranx
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from torchmetrics.retrieval import RetrievalMAP

import duet

QUERIES = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
GALLERY = np.array([[1, 0.1], [0.2, 1], [1, 0.9], [0.3, 1]], np.float32)


def cosines(a, v):
    return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (v / np.linalg.norm(v, axis=1, keepdims=True)).T


def map_of(a, v, labels, labels_v=None):
    return duet.evaluate(a, v, labels, labels_v)["a_to_v"].map


def map_of_torchmetrics(scores, labels, labels_v, **options):
    relevant = torch.from_numpy(labels[:, None] == labels_v[None])
    numbers = torch.arange(len(labels)).repeat_interleave(len(labels_v))
    return RetrievalMAP(**options)(torch.from_numpy(scores).flatten(), relevant.flatten(), indexes=numbers).item()


def test_torchmetrics_passes_over_scores_of_zero_and_less():
    rng = np.random.default_rng(0)
    a, v = rng.standard_normal((2, 40, 8), dtype=np.float32)
    labels = rng.integers(0, 4, 40)
    scores, ours = cosines(a, v), map_of(a, v, labels)
    assert abs(map_of_torchmetrics(scores + 1, labels, labels) - ours) <= 1e-5
    assert abs(map_of_torchmetrics(scores, labels, labels) - 0.3814) <= 1e-3 and abs(ours - 0.3324) <= 1e-3
    # The one relevant item is second of three: 1/2, but at a cosine of 0 or less it is none.
    one, gallery = np.array([[1, 0]], np.float32), np.array([[1, 0.1], [-0.1, 1], [-1, 0]], np.float32)
    of_one, of_gallery = np.array([0]), np.array([1, 0, 1])
    assert map_of(one, gallery, of_one, of_gallery) == 0.5
    assert map_of_torchmetrics(cosines(one, gallery), of_one, of_gallery) == 0


def test_lone_queries():
    """The last query's label is not in the gallery."""
    labels, of_gallery = np.array([0, 1, 5]), np.array([0, 1, 1, 0])
    ours, scores = map_of(QUERIES, GALLERY, labels, of_gallery), cosines(QUERIES, GALLERY)
    assert abs(ours - 5 / 6) <= 1e-6
    assert abs(map_of_torchmetrics(scores, labels, of_gallery) - 2 / 3 * ours) <= 1e-6  # counts 0
    assert abs(map_of_torchmetrics(scores, labels, of_gallery, empty_target_action="skip") - ours) <= 1e-6
    assert abs(map_of_metric_learning(labels, of_gallery) - ours) <= 1e-6  # left out, as here


def map_of_metric_learning(labels, of_gallery):
    measures = AccuracyCalculator(include=("mean_average_precision",), k=None, device=torch.device("cpu"))
    sides = [torch.nn.functional.normalize(torch.from_numpy(each)) for each in (QUERIES, GALLERY)]
    found = measures.get_accuracy(sides[0], torch.from_numpy(labels), sides[1], torch.from_numpy(of_gallery),
                                  ref_includes_query=False)
    return found["mean_average_precision"]


def test_labels_of_minus_one_are_a_class_to_pytorch_metric_learning():
    labels, of_gallery = np.array([0, 1, -1]), np.array([0, 1, -1, 0])
    assert abs(map_of_metric_learning(labels, of_gallery) - 17 / 18) <= 1e-6
    assert abs(map_of(QUERIES, GALLERY, labels, of_gallery) - 11 / 12) <= 1e-6


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_ranx_ranks_ties_as_they_were_put_in(order):
    of_relevant = {}
    for relevant in "abc":
        judged, run = ranx.Qrels({"q": {relevant: 1}}), ranx.Run({"q": {each: 0.5 for each in order}})
        of_relevant[relevant] = ranx.evaluate(judged, run, "map")
    assert of_relevant == {each: 1 / (rank + 1) for rank, each in enumerate(order)}
    # duet: the expectation over the orders, whatever the row's place.
    equal = np.ones((3, 2), np.float32)
    for place in range(3):
        ours = map_of(equal[:1], equal, np.array([0]), np.array([0 if each == place else 1 for each in range(3)]))
        assert abs(ours - (1 + 1 / 2 + 1 / 3) / 3) <= 1e-6


def search(index, rows, queries, k):
    index.add(rows)
    return index.search(queries, k)


@pytest.mark.parametrize("n, k", [(5, 1), (5, 2), (5, 5), (300, 120)])
def test_ties_of_faiss(n, k):
    """Of n equal inner products the k lowest numbers, from the highest down; Euclidean distances, and duet: upwards."""
    rows = np.ones((n, 4), np.float32)
    assert search(faiss.IndexFlatIP(4), rows, rows[:1], k)[1][0].tolist() == list(range(k))[::-1]
    assert search(faiss.IndexFlatL2(4), rows, rows[:1], k)[1][0].tolist() == list(range(k))
    assert duet.top_k(rows[:1], rows, k).indices[0].tolist() == list(range(k))


@pytest.mark.parametrize("d", [64, 128])
def test_self_distances_of_faiss(d):
    """From queries x d = 128,000 on it goes through |x|^2 + |y|^2 - 2 x.y."""
    rows = np.random.default_rng(0).standard_normal((128000 // d, d), dtype=np.float32)
    n = 128000 // d
    below, at = (search(faiss.IndexFlatL2(d), rows, rows[:queries], 1)[0].max() for queries in (n - 1, n))
    assert below == 0 and at > 1e-6
    assert duet.distance(rows, rows, "sqeuclidean").diagonal().max() == 0
