"""Distances between the rows of two arrays, and unit rows (METHOD.md, sections 1 and 6.1)."""
from __future__ import annotations

from typing import Any, NamedTuple

from . import _interface as c
from ._arrays import borrow_matrix
from ._context import Context
from ._operation import Operation, Output
from ._results import Result, choose, of_choices

__all__ = ["DistanceGradients", "distance", "distance_gradients", "unit_rows"]

METRICS = {"inner": c.DUET_METRIC_INNER, "sqeuclidean": c.DUET_METRIC_SQEUCLIDEAN,
           "euclidean": c.DUET_METRIC_EUCLIDEAN, "cosine": c.DUET_METRIC_COSINE}

_FORWARD = Operation("distance_forward", ("x", "y"), ("distances",), sized="distance_workspace")
_BACKWARD = Operation("distance_backward", ("x", "y"), ("distances", "grad_distances", "grad_x", "grad_y"),
                      sized="distance_workspace")
_UNIT_ROWS = Operation("unit_rows_forward", ("x",), ("outputs",))


def distance(x: Any, y: Any, metric: str = "euclidean", *, context: Context | None = None) -> Result:
    """Distances D (n x m, float32) between the rows of x (n x d) and of y (m x d).

    metric: "euclidean", "sqeuclidean", "cosine" (1 - cosine similarity) or "inner" (the inner product, a similarity).
    No distance is below 0, cosine lies in [0, 2], equal rows give exactly 0; close pairs are computed from the
    difference of their rows. NaN in a row gives NaN in its distances.
    Raises ValueError, naming the argument, where widths differ.
    """
    made = _FORWARD.again(context, (x, y), (metric,))
    if made is None:
        of_x, of_y = borrow_matrix(x, "x"), borrow_matrix(y, "y")
        made = _FORWARD.run(choose(context, of_x, of_y), (metric,), (of_x, of_y),
                            (("metric", of_choices(METRICS, metric, "metric")),), Output((of_x.rows, of_y.rows)))
    return made[0]


class DistanceGradients(NamedTuple):
    grad_x: Result  # n x d, float32
    grad_y: Result  # m x d, float32


def distance_gradients(x: Any, y: Any, grad_distances: Any, metric: str = "euclidean", distances: Any = None, *,
                       context: Context | None = None) -> DistanceGradients:
    """What grad_distances, d loss / d D (n x m), is to x and y.

    distances: D as distance() gave it. "euclidean" needs it; with it the gradients of close pairs by "cosine" keep
    their digits; any other metric refuses it.
    """
    made = _BACKWARD.again(context, (x, y, distances, grad_distances), (metric,))
    if made is None:
        of_x, of_y = borrow_matrix(x, "x"), borrow_matrix(y, "y")
        upstream = borrow_matrix(grad_distances, "grad_distances")
        known = None if distances is None else borrow_matrix(distances, "distances")
        made = _BACKWARD.run(choose(context, of_x, of_y, upstream, known), (metric,), (of_x, of_y, known, upstream),
                             (("metric", of_choices(METRICS, metric, "metric")),),
                             Output((of_x.rows, of_x.columns), zero=True), Output((of_y.rows, of_y.columns), zero=True))
    return DistanceGradients(*made)


def unit_rows(x: Any, *, context: Context | None = None) -> Result:
    """x (n x d) with each row divided by its norm, or by 1e-12 where that is larger (n x d, float32)."""
    made = _UNIT_ROWS.again(context, (x,))
    if made is None:
        of_x = borrow_matrix(x, "x")
        made = _UNIT_ROWS.run(choose(context, of_x), (), (of_x,), (), Output((of_x.rows, of_x.columns)))
    return made[0]
