"""Triplets: mining, and the loss (METHOD.md, section 3)."""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import _interface as c
from ._arrays import Borrowed, borrow_matrix, borrow_numbers, borrow_vector
from ._context import Context
from ._operation import Operation
from ._results import Result, choose, new, of_choices
from .distances import METRICS

__all__ = ["DistanceWeighted", "HardPairs", "SemihardTriplets", "TripletLoss", "mine_distance_weighted", "mine_hard",
           "mine_semihard", "triplet"]

_MINING_INPUTS = ("x", "y", "labels_x", "labels_y", "group_x", "group_y")
_DRAW = ("draw.step",)
_SIDE = ("positive_index", "negative_index", "positive_distance", "negative_distance")
_HARD = Operation("mining_hard", _MINING_INPUTS, tuple("rows." + each for each in _SIDE), sized="mining_workspace")
_COUNT = Operation("mining_semihard_count", _MINING_INPUTS, ("count",), sized="mining_workspace")
_SEMIHARD = Operation("mining_semihard", _MINING_INPUTS, ("triplets", "distances"), sized="mining_workspace")
_DISTANCE_WEIGHTED = Operation("mining_distance_weighted", _MINING_INPUTS + _DRAW, ("negatives", "distances"),
                               sized="mining_workspace")
_TRIPLET_INPUTS = ("x", "y", "class_x", "class_y", "trust_x", "trust_y", "labels_x", "labels_y", "group_x", "group_y",
                   "draw.step")
_TRIPLET = Operation("triplet_forward", _TRIPLET_INPUTS, ("row_loss", "row_active", "sum_x", "sum_y"),
                     sized="triplet_workspace")
_MININGS = {"all": c.DUET_TRIPLET_MINING_ALL, "hard": c.DUET_TRIPLET_MINING_HARD,
            "semihard": c.DUET_TRIPLET_MINING_SEMIHARD,
            "distance_weighted": c.DUET_TRIPLET_MINING_DISTANCE_WEIGHTED}


class HardPairs(NamedTuple):
    positive_index: Result  # n, int32: of the farthest positive in y, -1: none
    negative_index: Result  # n, int32: of the nearest negative
    positive_distance: Result  # n, float32, NaN: none
    negative_distance: Result  # n, float32


class SemihardTriplets(NamedTuple):
    triplets: Result  # count x 3, int32: anchor, positive, nearest negative of D_ip < D_in < D_ip + margin, or -1
    distances: Result  # count x 2, float32: D_ip and D_in, NaN: none


class DistanceWeighted(NamedTuple):
    negatives: Result  # n x slots, int32, -1: none
    distances: Result  # n x slots, float32: Euclidean


class TripletLoss(NamedTuple):
    loss: float  # the mean over the active triplets, in the metric's unit; 0 without one
    active: float  # their number, or weight
    grad_x: Result  # n x d, float32: d loss / d x
    grad_y: Result  # m x d, float32: d loss / d y
    row_loss: Result  # n, float32: the sum over an anchor's triplets
    row_active: Result  # n, float32: the number, or weight, of its active ones


def _mining_arrays(x: Any, y: Any, labels_x: Any, labels_y: Any, group_x: Any,
                   group_y: Any) -> tuple[Borrowed, Borrowed, Borrowed, Borrowed, Borrowed | None, Borrowed | None]:
    return (borrow_matrix(x, "x"), borrow_matrix(y, "y"), borrow_numbers(labels_x, "labels_x"),
            borrow_numbers(labels_y, "labels_y"), None if group_x is None else borrow_numbers(group_x, "group_x"),
            None if group_y is None else borrow_numbers(group_y, "group_y"))


def _metric(metric: str) -> int:
    if metric == "inner":
        raise ValueError("metric: 'inner' is no distance; expected euclidean, sqeuclidean or cosine")
    return of_choices(METRICS, metric, "metric")


def mine_hard(x: Any, y: Any, labels_x: Any, labels_y: Any, *, metric: str = "euclidean", group_x: Any = None,
              group_y: Any = None, exclude_own: bool = False, context: Context | None = None) -> HardPairs:
    """For each anchor of x (n x d) its farthest positive and nearest negative in y (m x d); ties to the lowest index.

    labels_x (n), labels_y (m): whole numbers, alike: positive; below 0: unlabelled. group_x, group_y: rows of one
    number, 0 or more, are positives too. exclude_own: rows of equal index are neither, as where a set is mined with
    itself.
    """
    arrays = _mining_arrays(x, y, labels_x, labels_y, group_x, group_y)
    context = choose(context, *arrays)
    n = (arrays[0].rows,)
    made = [new(context, n, np.int32), new(context, n, np.int32), new(context, n), new(context, n)]
    _HARD(context, (*arrays, *[view for _, view in made]),
          (("metric", _metric(metric)), ("exclude_own", int(exclude_own))))
    return HardPairs(*[array for array, _ in made])


def mine_semihard(x: Any, y: Any, labels_x: Any, labels_y: Any, *, margin: float = 0.2, metric: str = "euclidean",
                  group_x: Any = None, group_y: Any = None, exclude_own: bool = False,
                  context: Context | None = None) -> SemihardTriplets:
    """For each positive pair the nearest negative that is farther, by less than margin; arguments as of mine_hard()."""
    arrays = _mining_arrays(x, y, labels_x, labels_y, group_x, group_y)
    context = choose(context, *arrays)
    options = (("metric", _metric(metric)), ("margin", margin), ("exclude_own", int(exclude_own)))
    count, to_count = new(context, (1,), np.int64)
    _COUNT(context, (*arrays, to_count), options)
    rows = int((count if isinstance(count, np.ndarray) else count.numpy())[0])
    triplets, to_triplets = new(context, (rows, 3), np.int32)
    distances, to_distances = new(context, (rows, 2))
    _SEMIHARD(context, (*arrays, to_triplets, to_distances), options)
    return SemihardTriplets(triplets, distances)


def _draw(context: Context, seed: int, step: int, slots: int) -> tuple[Borrowed, tuple[tuple[str, Any], ...]]:
    address, owner = context.borrowed_copy(np.array([step], np.int64))
    view = Borrowed(address, (1, 0, 0, c.DUET_DTYPE_I64), context.device_index, 0, owner)
    return view, (("draw.seed", seed), ("draw.slots", slots))


def mine_distance_weighted(x: Any, y: Any, labels_x: Any, labels_y: Any, *, seed: int = 0, step: int = 0,
                           slots: int = 1, group_x: Any = None, group_y: Any = None, exclude_own: bool = False,
                           context: Context | None = None) -> DistanceWeighted:
    """For each anchor `slots` negatives, drawn by their distance on the unit sphere; x and y hold unit rows.

    The same seed and step draw the same negatives. Other arguments as of mine_hard().
    """
    arrays = _mining_arrays(x, y, labels_x, labels_y, group_x, group_y)
    context = choose(context, *arrays)
    negatives, to_negatives = new(context, (arrays[0].rows, slots), np.int32)
    distances, to_distances = new(context, (arrays[0].rows, slots))
    of_step, draw = _draw(context, seed, step, slots)
    _DISTANCE_WEIGHTED(context, (*arrays, of_step, to_negatives, to_distances),
                       (*draw, ("metric", METRICS["euclidean"]), ("exclude_own", int(exclude_own))))
    return DistanceWeighted(negatives, distances)


def triplet(x: Any, y: Any, labels_x: Any = None, labels_y: Any = None, *, mining: str = "all", margin: float = 0.2,
            metric: str = "sqeuclidean", class_x: Any = None, class_y: Any = None, trust_x: Any = None,
            trust_y: Any = None, group_x: Any = None, group_y: Any = None, paired: bool = False,
            exclude_own: bool = False, seed: int = 0, step: int = 0, slots: int = 1,
            context: Context | None = None) -> TripletLoss:
    """The triplet loss of anchors x (n x d) with positives and negatives in y (m x d), and its gradients.

    mining: "all" (every triplet), "hard", "semihard" or "distance_weighted" (of unit rows; seed, step, slots).
    labels_x (n), labels_y (m): whole numbers; or, of "all", class_x (n x C) and class_y (m x C), class distributions,
        with trust_x and trust_y (0 to 1) and paired (rows of equal index are positives).
    group_x, group_y, exclude_own: as of mine_hard().
    """
    sides = (borrow_matrix(x, "x"), borrow_matrix(y, "y"))
    optional = [None if value is None else kind(value, name) for kind, value, name in (
        (borrow_matrix, class_x, "class_x"), (borrow_matrix, class_y, "class_y"), (borrow_vector, trust_x, "trust_x"),
        (borrow_vector, trust_y, "trust_y"), (borrow_numbers, labels_x, "labels_x"),
        (borrow_numbers, labels_y, "labels_y"), (borrow_numbers, group_x, "group_x"),
        (borrow_numbers, group_y, "group_y"))]
    context = choose(context, *sides, *optional)
    of_step, draw = None, ()  # type: tuple[Borrowed | None, tuple[tuple[str, Any], ...]]
    if mining == "distance_weighted":
        of_step, draw = _draw(context, seed, step, slots)
    n, m, d = sides[0].rows, sides[1].rows, sides[0].columns
    row_loss, to_loss = new(context, (n,))
    row_active, to_active = new(context, (n,))
    grad_x, to_x = new(context, (n, d))
    grad_y, to_y = new(context, (m, sides[1].columns))
    _TRIPLET(context, (*sides, *optional, of_step, to_loss, to_active, to_x, to_y),
             (*draw, ("metric", _metric(metric)), ("mining", of_choices(_MININGS, mining, "mining")),
              ("margin", margin), ("paired", int(paired)), ("exclude_own", int(exclude_own))))
    losses, actives = (each if isinstance(each, np.ndarray) else each.numpy() for each in (row_loss, row_active))
    active = float(actives.sum(dtype=np.float64))
    loss = float(losses.sum(dtype=np.float64)) / active if active != 0 else 0.0
    share = 0.0 if active == 0 else 1.0 / active
    return TripletLoss(loss, active, _scaled(grad_x, share), _scaled(grad_y, share), row_loss, row_active)


def _scaled(sums: Any, factor: float) -> Result:
    """The gradient of the mean from that of the sum."""
    if isinstance(sums, np.ndarray):
        return np.multiply(sums, np.float32(factor), out=sums)
    from ._device_array import DeviceArray

    return DeviceArray.of(sums.numpy() * np.float32(factor), sums.context)
