"""Retrieval by cosine similarity: the nearest rows of a gallery, all measures over the full ranking (METHOD.md 7)."""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from . import _interface as c
from ._arrays import Borrowed, borrow_matrix, borrow_numbers, view_of
from ._context import Context
from ._labels import borrow_sets, label_array, numbered, packed, placed, several
from ._operation import Operation, Output
from ._results import Result, choose, host, whole

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
    k = whole(k, "k")
    options = (k, exclude_own)
    made = _TOP_K.again(context, (queries, gallery), options)
    if made is None:
        sides = (borrow_matrix(queries, "queries"), borrow_matrix(gallery, "gallery"))
        shape = (sides[0].rows, k)
        made = _TOP_K.run(choose(context, *sides), options, sides, (("exclude_own", exclude_own),),
                          Output(shape, np.int32), Output(shape))
    return Nearest(*made)


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
    at = _cutoffs(_whole_cutoffs(cutoffs))
    words = None if label_sets is None else packed(np.asarray(label_sets))
    given = (queries, gallery, query_labels, gallery_labels, query_groups, gallery_groups, at, words)
    options = (paired, exclude_own)
    made = _FORWARD.again(context, given, options)
    if made is None:
        sides = (borrow_matrix(queries, "queries"), borrow_matrix(gallery, "gallery"))
        for labels, name in ((query_labels, "query_labels"), (gallery_labels, "gallery_labels")):
            if labels is None:
                raise ValueError(f"{name}: expected labels, got None")
        rest = [None if each is None else borrow_numbers(each, name) for each, name in zip(given[2:6], _INPUTS[2:6])]
        context = choose(context, *sides, *rest)
        n, k = sides[0].rows, at.size
        there, sets = placed(context, sides[0], at, words)
        made = _FORWARD.run(
            context, options, (*sides, *rest, _borrow_cutoffs(there), None if sets is None else borrow_sets(sets)),
            (("paired", paired), ("exclude_own", exclude_own)), Output((n,), np.int32), Output((n,)),
            Output((n,)), Output((n,)), Output((n, k)), Output((n, 11)), Output((n,)), Output((n, k)))
    return QueryMeasures(*made)


def _whole_cutoffs(cutoffs: Any) -> tuple[int, ...]:
    try:
        given = tuple(cutoffs)
    except TypeError:
        raise TypeError(f"cutoffs: expected whole numbers, got {cutoffs!r}") from None
    return tuple([whole(each, "cutoffs", 1) for each in given])


@lru_cache(maxsize=64)
def _cutoffs(values: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def _borrow_cutoffs(at: Any) -> Borrowed:
    if isinstance(at, np.ndarray):
        return view_of(at)
    return Borrowed(at.address, (at.shape[0], 0, 0, c.DUET_DTYPE_I64), at.device_index, 0, at)


def _mean(values: np.ndarray[Any, Any]) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean(dtype=np.float64)) if kept.size else float("nan")


def _measures(of: QueryMeasures, cutoffs: Sequence[int]) -> Measures:
    recall, pair_recall, curve = host(of.recall), host(of.pair_recall), host(of.precision_recall)
    return Measures(
        map=_mean(host(of.average_precision)), map_at_r=_mean(host(of.precision_at_r)),
        map_over_cutoffs=_mean(host(of.precision_over_cutoffs)),
        recall={int(k): _mean(recall[:, place]) for place, k in enumerate(cutoffs)},
        precision_recall=[_mean(curve[:, place]) for place in range(curve.shape[1])],
        matching_1_of_2=_mean(host(of.matching)),
        pair_recall={int(k): _mean(pair_recall[:, place]) for place, k in enumerate(cutoffs)},
        queries=int((host(of.relevant) > 0).sum()))


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
    paired, cutoffs = labels_v is None, _whole_cutoffs(cutoffs)
    of_a = label_array(labels, "labels")
    of_v = of_a if paired else label_array(labels_v, "labels_v")
    name, sets = "labels" if paired else "labels_v", None
    if of_a.ndim == 2 or of_v.ndim == 2:
        (numbers_a, numbers_v), sets = several(of_a, of_v, "labels", name)
    else:
        numbers_a, numbers_v = numbered(of_a, of_v, name)
    of_sides = borrow_matrix(a, "a"), borrow_matrix(v, "v")
    for side, of, rows, word in ((of_sides[0], of_a, "a", "labels"), (of_sides[1], of_v, "v", name)):
        if len(of) != side.rows:
            raise ValueError(f"{word}: expected a label for each of the {side.rows} rows of {rows}, got {len(of)}")
    context = choose(context, *of_sides)
    moved = placed(context, of_sides[0], numbers_a, numbers_v)
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
