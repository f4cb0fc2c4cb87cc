"""Triplets: mining, and the loss (METHOD.md, section 3)."""
from __future__ import annotations

from typing import Any, NamedTuple, Union

import numpy as np

from . import _interface as c
from ._arrays import Borrowed, borrow_matrix, borrow_numbers, borrow_vector
from ._context import Context
from ._labels import borrow_sets, label_sides, placed
from ._operation import Operation, Output
from ._results import Result, choose, host, of_choices, whole
from .distances import METRICS

__all__ = ["DistanceWeighted", "HardPairs", "SemihardTriplets", "TripletLoss", "mine_distance_weighted", "mine_hard",
           "mine_semihard", "triplet"]

_MINING_INPUTS = ("x", "y", "labels_x", "labels_y", "group_x", "group_y", "label_sets")
_DRAW = ("draw.step",)
_SIDE = ("positive_index", "negative_index", "positive_distance", "negative_distance")
_HARD = Operation("mining_hard", _MINING_INPUTS, tuple("rows." + each for each in _SIDE), sized="mining_workspace")
_COUNT = Operation("mining_semihard_count", _MINING_INPUTS, ("count",), sized="mining_workspace")
_SEMIHARD = Operation("mining_semihard", _MINING_INPUTS, ("triplets", "distances"), sized="mining_workspace")
_DISTANCE_WEIGHTED = Operation("mining_distance_weighted", _MINING_INPUTS + _DRAW, ("negatives", "distances"),
                               sized="mining_workspace")
_TRIPLET_INPUTS = ("x", "y", "class_x", "class_y", "trust_x", "trust_y", "labels_x", "labels_y", "group_x", "group_y",
                   "annotated_x", "annotated_y", "label_sets", "draw.step")
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


class TripletLoss:
    """Of all anchors the sums over their triplets; their mean and its gradients are worked out when they are read."""

    __slots__ = ("_mean", "_sum_x", "_sum_y", "row_active", "row_loss")

    def __init__(self, row_loss: Result, row_active: Result, sum_x: Result, sum_y: Result) -> None:
        self.row_loss = row_loss  # n, float32: the sum over an anchor's triplets
        self.row_active = row_active  # n, float32: the number, or weight, of its active ones
        self._sum_x, self._sum_y = sum_x, sum_y
        self._mean: tuple[float, float] | None = None

    def _means(self) -> tuple[float, float]:
        if self._mean is None:
            loss, active = (float(np.add.reduce(host(each), dtype=np.float64))
                            for each in (self.row_loss, self.row_active))
            self._mean = (loss / active if active != 0 else 0.0), active
        return self._mean

    @property
    def loss(self) -> float:
        """The mean over the active triplets, in the metric's unit; 0 without one."""
        return self._means()[0]

    @property
    def active(self) -> float:
        """The number of active triplets, or their weight."""
        return self._means()[1]

    @property
    def grad_x(self) -> Result:
        """n x d, float32: d loss / d x."""
        return self._scaled(self._sum_x)

    @property
    def grad_y(self) -> Result:
        """m x d, float32: d loss / d y."""
        return self._scaled(self._sum_y)

    def _scaled(self, sums: Result) -> Result:
        active = self._means()[1]
        out = host(sums) * np.float32(0.0 if active == 0 else 1.0 / active)
        if isinstance(sums, np.ndarray):
            return out
        from ._device_array import DeviceArray

        return DeviceArray.of(out, sums.context)


Mined = tuple[Union[Borrowed, None], ...]


def _mining_inputs(context: Context | None, x: Any, y: Any, labels_x: Any, labels_y: Any, group_x: Any, group_y: Any,
                   sets: Any) -> tuple[Context, Mined]:
    """The context, and as it takes them the arrays; labels as label_sides() gave them."""
    of_x, of_y = borrow_matrix(x, "x"), borrow_matrix(y, "y")
    if (group_x is None) != (group_y is None):
        raise ValueError("group_x, group_y: expected both or neither")
    if sets is not None:
        labels_x, labels_y, sets = placed(context, of_x, labels_x, labels_y, sets)
    inputs = (of_x, of_y, borrow_numbers(labels_x, "labels_x"), borrow_numbers(labels_y, "labels_y"),
              None if group_x is None else borrow_numbers(group_x, "group_x"),
              None if group_y is None else borrow_numbers(group_y, "group_y"),
              None if sets is None else borrow_sets(sets))
    return choose(context, of_x, *inputs[1:]), inputs


def _metric(metric: str) -> int:
    if metric == "inner":
        raise ValueError("metric: 'inner' is no distance; expected euclidean, sqeuclidean or cosine")
    return of_choices(METRICS, metric, "metric")


def mine_hard(x: Any, y: Any, labels_x: Any, labels_y: Any, *, metric: str = "euclidean", group_x: Any = None,
              group_y: Any = None, exclude_own: bool = False, context: Context | None = None) -> HardPairs:
    """For each anchor of x (n x d) its farthest positive and nearest negative in y (m x d); ties to the lowest index.

    labels_x (n), labels_y (m): whole numbers, alike: positive; below 0: unlabelled. Or n x C and m x C of 0 and 1: rows
    that share a class are positives, a row without one is unlabelled. group_x, group_y: rows of one number, 0 or more,
    are positives too. exclude_own: rows of equal index are neither, as where a set is mined with itself.
    """
    labels_x, labels_y, sets = label_sides(labels_x, labels_y, "labels_x", "labels_y")
    options = (metric, exclude_own)
    made = _HARD.again(context, (x, y, labels_x, labels_y, group_x, group_y, sets), options)
    if made is None:
        context, inputs = _mining_inputs(context, x, y, labels_x, labels_y, group_x, group_y, sets)
        n = (_rows(inputs),)
        made = _HARD.run(context, options, inputs, (("metric", _metric(metric)), ("exclude_own", exclude_own)),
                         Output(n, np.int32), Output(n, np.int32), Output(n), Output(n))
    return HardPairs(*made)


def _rows(inputs: Mined) -> int:
    assert inputs[0] is not None
    return inputs[0].rows


def mine_semihard(x: Any, y: Any, labels_x: Any, labels_y: Any, *, margin: float = 0.2, metric: str = "euclidean",
                  group_x: Any = None, group_y: Any = None, exclude_own: bool = False,
                  context: Context | None = None) -> SemihardTriplets:
    """For each positive pair the nearest negative that is farther, by less than margin; arguments as of mine_hard()."""
    labels_x, labels_y, sets = label_sides(labels_x, labels_y, "labels_x", "labels_y")
    given = (x, y, labels_x, labels_y, group_x, group_y, sets)
    options = (metric, margin, exclude_own)
    counted = _COUNT.again(context, given, options)
    if counted is not None:
        rows = int(counted[0][0])
        found = _SEMIHARD.again(context, given, (*options, rows))
        if found is not None:
            return SemihardTriplets(*found)
    fields = (("metric", _metric(metric)), ("margin", margin), ("exclude_own", exclude_own))
    context, inputs = _mining_inputs(context, *given)
    if counted is None:
        rows = int(host(_COUNT.run(context, options, inputs, fields, Output((1,), np.int64))[0])[0])
    return SemihardTriplets(*_SEMIHARD.run(context, (*options, rows), inputs, fields, Output((rows, 3), np.int32),
                                           Output((rows, 2))))


def mine_distance_weighted(x: Any, y: Any, labels_x: Any, labels_y: Any, *, seed: int = 0, step: int = 0,
                           slots: int = 1, group_x: Any = None, group_y: Any = None, exclude_own: bool = False,
                           context: Context | None = None) -> DistanceWeighted:
    """For each anchor `slots` negatives, drawn by their distance on the unit sphere; x and y hold unit rows.

    The same seed and step draw the same negatives. Other arguments as of mine_hard().
    """
    labels_x, labels_y, sets = label_sides(labels_x, labels_y, "labels_x", "labels_y")
    options, of_step = (seed, slots, exclude_own), whole(step, "step")
    made = _DISTANCE_WEIGHTED.again(context, (x, y, labels_x, labels_y, group_x, group_y, sets, of_step), options)
    if made is None:
        context, inputs = _mining_inputs(context, x, y, labels_x, labels_y, group_x, group_y, sets)
        shape = (_rows(inputs), whole(slots, "slots"))
        made = _DISTANCE_WEIGHTED.run(
            context, options, (*inputs, of_step),
            (("draw.seed", seed), ("draw.slots", slots), ("metric", METRICS["euclidean"]),
             ("exclude_own", exclude_own)), Output(shape, np.int32), Output(shape))
    return DistanceWeighted(*made)


def triplet(x: Any, y: Any, labels_x: Any = None, labels_y: Any = None, *, mining: str = "all", margin: float = 0.2,
            metric: str = "sqeuclidean", class_x: Any = None, class_y: Any = None, trust_x: Any = None,
            trust_y: Any = None, group_x: Any = None, group_y: Any = None, annotated_x: Any = None,
            annotated_y: Any = None, paired: bool = False, exclude_own: bool = False, seed: int = 0, step: int = 0,
            slots: int = 1, context: Context | None = None) -> TripletLoss:
    """The triplet loss of anchors x (n x d) with positives and negatives in y (m x d), and its gradients.

    mining: "all" (every triplet), "hard", "semihard" or "distance_weighted" (of unit rows; seed, step, slots).
    labels_x (n), labels_y (m): as of mine_hard(); or, of "all", class_x (n x C) and class_y (m x C), class
        distributions, with trust_x and trust_y (0 to 1), paired (rows of equal index are positives), and annotated_x
        (n) and annotated_y (m), not 0 where a row's classes are known: two such rows agree where they share a class.
    group_x, group_y, exclude_own: as of mine_hard().
    """
    labels_x, labels_y, sets = label_sides(labels_x, labels_y, "labels_x", "labels_y")
    drawn = whole(step, "step") if mining == "distance_weighted" else None
    options = (mining, margin, metric, paired, exclude_own, seed, slots)
    made = _TRIPLET.again(context, (x, y, class_x, class_y, trust_x, trust_y, labels_x, labels_y, group_x, group_y,
                                    annotated_x, annotated_y, sets, drawn), options)
    if made is None:
        of_x, of_y = borrow_matrix(x, "x"), borrow_matrix(y, "y")
        if sets is not None:
            labels_x, labels_y, sets = placed(context, of_x, labels_x, labels_y, sets)
        rest = [None if value is None else kind(value, name) for kind, value, name in (
            (borrow_matrix, class_x, "class_x"), (borrow_matrix, class_y, "class_y"),
            (borrow_vector, trust_x, "trust_x"), (borrow_vector, trust_y, "trust_y"),
            (borrow_numbers, labels_x, "labels_x"), (borrow_numbers, labels_y, "labels_y"),
            (borrow_numbers, group_x, "group_x"), (borrow_numbers, group_y, "group_y"),
            (borrow_vector, annotated_x, "annotated_x"), (borrow_vector, annotated_y, "annotated_y"))]
        context = choose(context, of_x, of_y, *rest)
        draw = () if drawn is None else (("draw.seed", seed), ("draw.slots", slots))
        made = _TRIPLET.run(
            context, options, (of_x, of_y, *rest, None if sets is None else borrow_sets(sets), drawn),
            (*draw, ("metric", _metric(metric)), ("mining", of_choices(_MININGS, mining, "mining")),
             ("margin", margin), ("paired", paired), ("exclude_own", exclude_own)),
            Output((of_x.rows,)), Output((of_x.rows,)), Output((of_x.rows, of_x.columns)),
            Output((of_y.rows, of_y.columns)))
    return TripletLoss(*made)
