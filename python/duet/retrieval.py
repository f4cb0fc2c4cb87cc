"""Retrieval by cosine similarity: the nearest rows of a gallery, all measures over the full ranking (METHOD.md 7)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _interface as c
from ._arrays import HOST, Borrowed, borrow_matrix, borrow_numbers
from ._context import Context
from ._operation import Operation
from ._results import Result, choose, new

__all__ = ["Measures", "Nearest", "QueryMeasures", "evaluate", "retrieval", "top_k"]

_INPUTS = ("queries", "gallery", "query_labels", "gallery_labels", "query_groups", "gallery_groups", "cutoffs",
           "label_sets")
_OUTPUTS = ("relevant", "average_precision", "precision_at_r", "precision_over_cutoffs", "recall", "precision_recall",
            "matching", "pair_recall")
_FORWARD = Operation("retrieval_forward", _INPUTS, _OUTPUTS, sized="retrieval_workspace")
_TOP_K = Operation("retrieval_top_k", ("queries", "gallery"), ("indices", "scores"), sized="retrieval_workspace")
CUTOFFS = (1, 5, 10)


class Nearest(NamedTuple):
    indices: Result  # n x k, int32: rows of the gallery, best first; -1 past the last
    scores: Result  # n x k, float32: cosine similarity, NaN past the last


class QueryMeasures(NamedTuple):
    """Of each query; NaN where a query has no such measure."""

    relevant: Result  # n, int32: the number of relevant items
    average_precision: Result  # n, float32
    precision_at_r: Result  # n, float32: its mean is MAP@R
    precision_over_cutoffs: Result  # n, float32: its mean is map_over_cutoffs
    recall: Result  # n x K, float32: whether a relevant item is in the first k
    precision_recall: Result  # n x 11, float32: the largest precision at recall l/10 or more
    matching: Result  # n, float32: the share of items of other classes that score below the own pair
    pair_recall: Result  # n x K, float32: whether an own pair is in the first k


class Measures(NamedTuple):
    """Means over the queries that have the measure; NaN where none has."""

    map: float
    map_at_r: float
    map_over_cutoffs: float
    recall: dict[int, float]  # by cutoff
    precision_recall: list[float]  # at recall 0, 0.1, ... 1
    matching_1_of_2: float
    pair_recall: dict[int, float]
    queries: int  # those that have a relevant item


def top_k(queries: Any, gallery: Any, k: int = 10, *, exclude_own: bool = False,
          context: Context | None = None) -> Nearest:
    """The k rows of gallery (m x d) nearest to each row of queries (n x d) by cosine; equal scores by lower index.

    exclude_own: the gallery row of the query's index is no item, as where a set is searched by itself.
    """
    if k < 0:
        raise ValueError(f"k: expected 0 or more, got {k}")
    sides = (borrow_matrix(queries, "queries"), borrow_matrix(gallery, "gallery"))
    context = choose(context, *sides)
    indices, to_indices = new(context, (sides[0].rows, k), np.int32)
    scores, to_scores = new(context, (sides[0].rows, k))
    _TOP_K(context, (*sides, to_indices, to_scores), (("exclude_own", int(exclude_own)),))
    return Nearest(indices, scores)


def retrieval(queries: Any, gallery: Any, query_labels: Any, gallery_labels: Any, *, cutoffs: Sequence[int] = CUTOFFS,
              query_groups: Any = None, gallery_groups: Any = None, paired: bool = False, exclude_own: bool = False,
              label_sets: Any = None, context: Context | None = None) -> QueryMeasures:
    """Every measure of each query over the full ranking of the gallery.

    Ties count as the expectation over their orders.
    queries (n x d), gallery (m x d); query_labels (n), gallery_labels (m): whole numbers, below 0: unlabelled.
    query_groups, gallery_groups: rows of one number, 0 or more, are the same item. paired: the gallery row of the
    query's index is its own pair. exclude_own: that row is no item. label_sets (S x C, 0 or 1): the classes of each of
    S labels; two labels that share a class are then relevant to each other.
    """
    arrays: tuple[Borrowed | None, ...] = (
        borrow_matrix(queries, "queries"), borrow_matrix(gallery, "gallery"),
        borrow_numbers(query_labels, "query_labels"), borrow_numbers(gallery_labels, "gallery_labels"),
        None if query_groups is None else borrow_numbers(query_groups, "query_groups"),
        None if gallery_groups is None else borrow_numbers(gallery_groups, "gallery_groups"))
    assert arrays[0] is not None
    context = choose(context, arrays[0], *arrays[1:])
    n, host = arrays[0].rows, np.array(list(cutoffs), np.int64)
    sets = None if label_sets is None else _borrow_sets(np.asarray(label_sets), context)
    address, owner = context.borrowed_copy(host)
    of_cutoffs = Borrowed(address, (host.size, 0, 0, c.DUET_DTYPE_I64), context.device_index, 0, owner)
    k = host.size
    made = [new(context, (n,), np.int32), new(context, (n,)), new(context, (n,)), new(context, (n,)),
            new(context, (n, k)), new(context, (n, 11)), new(context, (n,)), new(context, (n, k))]
    _FORWARD(context, (*arrays, of_cutoffs, sets, *[view for _, view in made]),
             (("paired", int(paired)), ("exclude_own", int(exclude_own))))
    return QueryMeasures(*[array for array, _ in made])


def _borrow_sets(sets: np.ndarray[Any, Any], context: Context) -> Borrowed:
    """Classes as bits: class c of a label is bit c % 32 of its word c / 32."""
    if sets.ndim != 2 or not np.isin(sets, (0, 1)).all():
        raise ValueError("label_sets: expected labels x classes of 0 and 1")
    packed = np.packbits(sets.astype(bool), axis=1, bitorder="little")
    words = np.ascontiguousarray(np.pad(packed, ((0, 0), (0, -packed.shape[1] % 4)))).view("<i4")
    address, owner = context.borrowed_copy(words)
    rows, columns = words.shape
    return Borrowed(address, (rows, columns, columns, c.DUET_DTYPE_I32), context.device_index, context.stream, owner)


def _labels(value: Any, name: str) -> np.ndarray[Any, Any]:
    try:
        labels = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}: expected an array of the host ({error})") from None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2):
        raise ValueError(f"{name}: expected a label a row, or a row of 0 and 1 a row, got {labels.ndim} dimensions")
    return labels


def _several(a: np.ndarray[Any, Any], v: np.ndarray[Any, Any],
             name: str) -> tuple[list[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """Rows of 0 and 1 as the numbers of their distinct sets, -1 of a row without a class, and the sets."""
    if a.ndim != v.ndim or a.shape[1] != v.shape[1]:
        raise ValueError(f"{name}: expected rows of {a.shape[1:]} classes, as in labels, got {v.shape[1:]}")
    if not all(np.isin(each, (0, 1)).all() for each in (a, v)):
        raise ValueError(f"{name}: expected 0 and 1 in rows of several labels")
    both = np.concatenate([a, v]).astype(bool)
    sets, numbers = np.unique(both, axis=0, return_inverse=True)
    numbers = np.where(both.any(axis=1), numbers.reshape(-1), -1).astype(np.int32)
    return [numbers[: len(a)], numbers[len(a):]], sets


def _numbered(a: np.ndarray[Any, Any], v: np.ndarray[Any, Any], name: str) -> list[np.ndarray[Any, Any]]:
    """Labels of any kind as whole numbers; -1, and "" of names, is unlabelled."""
    if (a.dtype.kind in "US") != (v.dtype.kind in "US"):
        raise TypeError(f"{name}: expected labels of one kind, got {a.dtype} and {v.dtype}")
    if a.dtype.kind not in "USiub":
        raise TypeError(f"{name}: expected whole numbers or names, got {a.dtype}")
    both = np.concatenate([a, v])
    none = both == "" if both.dtype.kind == "U" else both == b"" if both.dtype.kind == "S" else both == -1
    numbers = np.unique(both, return_inverse=True)[1].reshape(-1).astype(np.int32)
    numbers[none] = -1
    return [numbers[: len(a)], numbers[len(a):]]


def _host(array: Any) -> np.ndarray[Any, Any]:
    out: np.ndarray[Any, Any] = array if isinstance(array, np.ndarray) else array.numpy()
    return out


def _mean(values: np.ndarray[Any, Any]) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean(dtype=np.float64)) if kept.size else float("nan")


def _measures(of: QueryMeasures, cutoffs: Sequence[int]) -> Measures:
    recall, pair_recall, curve = _host(of.recall), _host(of.pair_recall), _host(of.precision_recall)
    return Measures(
        map=_mean(_host(of.average_precision)), map_at_r=_mean(_host(of.precision_at_r)),
        map_over_cutoffs=_mean(_host(of.precision_over_cutoffs)),
        recall={int(k): _mean(recall[:, place]) for place, k in enumerate(cutoffs)},
        precision_recall=[_mean(curve[:, place]) for place in range(curve.shape[1])],
        matching_1_of_2=_mean(_host(of.matching)),
        pair_recall={int(k): _mean(pair_recall[:, place]) for place, k in enumerate(cutoffs)},
        queries=int((_host(of.relevant) > 0).sum()))


def evaluate(a: Any, v: Any, labels: Any, labels_v: Any = None, *, cutoffs: Sequence[int] = CUTOFFS,
             context: Context | None = None) -> dict[str, Measures]:
    """All measures over the full ranking of plain arrays, both ways, in one call.

    a (n x d) and v (m x d): embeddings of two modalities, of any norm. labels: of the rows of a, and of those of v
    where labels_v is not given (rows of equal index are then pairs, n = m); whole numbers, -1: unlabelled, or names,
    "": unlabelled; or n x C of 0 and 1, where a row may have several: what shares one is relevant. Nothing of size
    n x m is stored.
    Returns "a_to_v" (queries a, gallery v), "v_to_a" and "mean", the mean of the two.
    Raises ValueError or TypeError, naming the argument.
    """
    paired = labels_v is None
    of_a = _labels(labels, "labels")
    of_v = of_a if paired else _labels(labels_v, "labels_v")
    name, sets = "labels" if paired else "labels_v", None
    if of_a.ndim == 2 or of_v.ndim == 2:
        if of_a.ndim != of_v.ndim:
            raise ValueError(f"{name}: expected rows of several labels on both sides, or on neither")
        (numbers_a, numbers_v), sets = _several(of_a, of_v, name)
    else:
        numbers_a, numbers_v = _numbered(of_a, of_v, name)
    context = choose(context, borrow_matrix(a, "a"), borrow_matrix(v, "v"))
    if context.device_index != HOST:
        from ._device_array import DeviceArray

        moved = [DeviceArray.of(each, context) for each in (numbers_a, numbers_v)]
    else:
        moved = [numbers_a, numbers_v]  # type: ignore[list-item]
    forth = _measures(retrieval(a, v, moved[0], moved[1], cutoffs=cutoffs, paired=paired, label_sets=sets,
                                context=context), cutoffs)
    back = _measures(retrieval(v, a, moved[1], moved[0], cutoffs=cutoffs, paired=paired, label_sets=sets,
                                context=context), cutoffs)
    return {"a_to_v": forth, "v_to_a": back, "mean": _both(forth, back)}


def _both(x: Measures, y: Measures) -> Measures:
    def mean(p: float, q: float) -> float:
        return (p + q) / 2

    return Measures(
        map=mean(x.map, y.map), map_at_r=mean(x.map_at_r, y.map_at_r),
        map_over_cutoffs=mean(x.map_over_cutoffs, y.map_over_cutoffs),
        recall={k: mean(x.recall[k], y.recall[k]) for k in x.recall},
        precision_recall=[mean(p, q) for p, q in zip(x.precision_recall, y.precision_recall)],
        matching_1_of_2=mean(x.matching_1_of_2, y.matching_1_of_2),
        pair_recall={k: mean(x.pair_recall[k], y.pair_recall[k]) for k in x.pair_recall}, queries=x.queries + y.queries)
