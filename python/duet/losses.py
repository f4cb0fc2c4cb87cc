"""Losses on all pairs of rows, streamed: contrastive, distillation, alignment, decorrelation (METHOD.md 4 to 6).

A loss is called with its arrays and returns its terms: what each row and each column loses. `terms.loss` is their mean
as METHOD.md weights it, `terms.gradients()` what that loss, or any weighting of the terms, is to the inputs.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _interface as c
from ._arrays import Borrowed, borrow_matrix, borrow_numbers, borrow_vector
from ._context import Context
from ._operation import Operation
from ._results import Result, choose, new, of_choices
from .distances import METRICS

__all__ = ["Alignment", "PairGradients", "PairTerms", "alignment", "alignment_probabilities", "contrastive",
           "decorrelation", "distillation"]

_KINDS = {"infonce": c.DUET_CONTRASTIVE_KIND_INFONCE, "multi_positive": c.DUET_CONTRASTIVE_KIND_MULTI_POSITIVE,
          "sigmoid": c.DUET_CONTRASTIVE_KIND_SIGMOID, "decoupled": c.DUET_CONTRASTIVE_KIND_DECOUPLED,
          "circle": c.DUET_CONTRASTIVE_KIND_CIRCLE, "ntxent": c.DUET_CONTRASTIVE_KIND_NTXENT}

_OUTPUTS = ("row_loss", "column_loss", "row_statistics", "column_statistics")
_GRADIENTS = ("row_statistics", "column_statistics", "row_weight", "column_weight", "grad_a", "grad_v", "grad_scale")
_CONTRASTIVE_INPUTS = ("a", "v", "scale", "class_a", "class_v", "trust_a", "trust_v", "labels_a", "labels_v", "group_a",
                       "group_v", "bias")
_DISTILLATION_INPUTS = ("student_a", "student_v", "scale", "class_a", "class_v", "trust_a", "trust_v", "kappa_a",
                        "kappa_v", "group_a", "group_v", "teacher_a", "teacher_v", "teacher_scale")


class PairGradients(NamedTuple):
    grad_a: Result  # n x d, float32
    grad_v: Result  # m x d, float32
    grad_scale: Result  # 1, float32: by 1 / temperature
    grad_bias: Result = None  # 1, float32: of the sigmoid loss


class _PairLoss:
    """The two passes of a loss on pairs and the number of statistics of a row."""

    def __init__(self, name: str, inputs: Sequence[str], statistics: int, more_gradients: tuple[str, ...] = ()) -> None:
        size = name + "_workspace"
        self.forward = Operation(name + "_forward", inputs, _OUTPUTS, sized=size)
        self.backward = Operation(name + "_backward", inputs, _GRADIENTS + more_gradients, sized=size)
        self.statistics = statistics
        self.has_bias = bool(more_gradients)


_CONTRASTIVE = _PairLoss("contrastive", _CONTRASTIVE_INPUTS, c.DUET_CONTRASTIVE_STATISTICS, ("grad_bias",))
_DISTILLATION = _PairLoss("distillation", _DISTILLATION_INPUTS, c.DUET_DISTILLATION_STATISTICS)


class PairTerms:
    """What the rows of a and of v lose.

    row_loss: n, float32 [nats]. column_loss: m, float32 [nats]; None of the sigmoid loss, which has row terms alone.
    """

    def __init__(self, of: _PairLoss, context: Context, inputs: Sequence[Borrowed | None],
                 options: tuple[tuple[str, Any], ...], rows_alone: bool) -> None:
        a, v = inputs[0], inputs[1]
        assert a is not None and v is not None
        self._of, self._context, self._inputs, self._options = of, context, inputs, options
        self.row_loss, row_loss = new(context, (a.rows,))
        if rows_alone:
            self.column_loss = None
            outputs: list[Borrowed | None] = [row_loss, None, None, None]
        else:
            self.column_loss, column_loss = new(context, (v.rows,))
            outputs = [row_loss, column_loss, new(context, (a.rows, of.statistics))[1],
                       new(context, (v.rows, of.statistics))[1]]
        self._statistics = outputs[2:]
        of.forward(context, (*inputs, *outputs), options)

    @property
    def loss(self) -> float:
        """The mean of the rows' terms, and with columns the mean of both means."""
        parts = [_mean(each) for each in (self.row_loss, self.column_loss) if each is not None]
        return sum(parts) / len(parts)

    def gradients(self, row_weight: Any = None, column_weight: Any = None) -> PairGradients:
        """What sum_i row_weight_i row_loss_i + sum_j column_weight_j column_loss_j is to the inputs.

        row_weight: n; column_weight: m. Neither given: those of `loss`. One given: the other is 0.
        """
        a, v = self._inputs[0], self._inputs[1]
        assert a is not None and v is not None
        rows = columns = None
        if row_weight is None and column_weight is None:
            share = 1 if self.column_loss is None else 2
            rows = _filled(self._context, a.rows, 1 / (share * max(1, a.rows)))
            if self.column_loss is not None:
                columns = _filled(self._context, v.rows, 1 / (share * max(1, v.rows)))
        if row_weight is not None:
            rows = borrow_vector(row_weight, "row_weight")
        if column_weight is not None:
            columns = borrow_vector(column_weight, "column_weight")
        grad_a, to_a = new(self._context, (a.rows, a.columns), zero=True)
        grad_v, to_v = new(self._context, (v.rows, v.columns), zero=True)
        grad_scale, to_scale = new(self._context, (1,), zero=True)
        arrays = [*self._inputs, *self._statistics, rows, columns, to_a, to_v, to_scale]
        grad_bias = None
        if self._of.has_bias:
            to_bias = None
            if self.column_loss is None:
                grad_bias, to_bias = new(self._context, (1,), zero=True)
            arrays.append(to_bias)
        self._of.backward(self._context, arrays, self._options)
        return PairGradients(grad_a, grad_v, grad_scale, grad_bias)


def _mean(array: Any) -> float:
    host = array if isinstance(array, np.ndarray) else array.numpy()
    return float(host.mean(dtype=np.float64)) if host.size else 0.0


def _filled(context: Context, size: int, value: float) -> Borrowed:
    """size times value."""
    address, owner = context.borrowed_copy(np.full(size, value, np.float32))
    return Borrowed(address, (size, 0, 0, c.DUET_DTYPE_F32), context.device_index, 0, owner)


def _optional(kind: Any, value: Any, name: str) -> Borrowed | None:
    out: Borrowed | None = None if value is None else kind(value, name)
    return out


def contrastive(a: Any, v: Any, kind: str = "infonce", *, temperature: float = 0.1, bias: float = 0.0,
                class_a: Any = None, class_v: Any = None, trust_a: Any = None, trust_v: Any = None,
                labels_a: Any = None, labels_v: Any = None, group_a: Any = None, group_v: Any = None,
                paired: bool = True, exclude_own: bool = False, margin: float = 0.0, first_row: int = 0,
                first_column: int = 0, context: Context | None = None) -> PairTerms:
    """A contrastive loss of a (n x d) against v (m x d); scores are inner products over the temperature.

    kind: "infonce" (CLIP's loss; rows of equal index are pairs), "multi_positive" (supervised contrastive; by labels,
        or by class_a n x C and class_v m x C with trust_a n and trust_v m), "sigmoid" (SigLIP; with bias), "decoupled",
        "circle" (with margin, 0: 0.25) or "ntxent" (several positives); METHOD.md 5.
    labels_a (n), labels_v (m): whole numbers, below 0: unlabelled. group_a (n), group_v (m): rows of one number, 0 or
        more, are positives of each other.
    paired: with classes, rows of equal index are positives whatever their trust.
    exclude_own: rows of equal index take no part with each other; so a set is compared with itself.
    first_row, first_column: the global indices of the first rows, of a part of a larger batch.
    Raises ValueError, naming the argument, where a kind does not read what is given or shapes differ.
    """
    of_kind = of_choices(_KINDS, kind, "kind")
    sides = (borrow_matrix(a, "a"), borrow_matrix(v, "v"))
    rest = (_optional(borrow_matrix, class_a, "class_a"), _optional(borrow_matrix, class_v, "class_v"),
            _optional(borrow_vector, trust_a, "trust_a"), _optional(borrow_vector, trust_v, "trust_v"),
            _optional(borrow_numbers, labels_a, "labels_a"), _optional(borrow_numbers, labels_v, "labels_v"),
            _optional(borrow_numbers, group_a, "group_a"), _optional(borrow_numbers, group_v, "group_v"))
    context = choose(context, *sides, *rest)
    sigmoid = kind == "sigmoid"
    of_bias = context.scalar(bias) if sigmoid else None
    if bias and not sigmoid:
        raise ValueError(f"bias: expected 0 with kind {kind!r}, which has none")
    options = (("kind", of_kind), ("paired", int(paired and class_a is not None and kind == "multi_positive")),
               ("exclude_own", int(exclude_own)), ("margin", margin), ("first_row", first_row),
               ("first_column", first_column))
    scale = context.scalar(_inverse(temperature, "temperature"))
    return PairTerms(_CONTRASTIVE, context, (*sides, scale, *rest, of_bias), options, rows_alone=sigmoid)


def distillation(student_a: Any, student_v: Any, teacher_a: Any, teacher_v: Any, *, temperature: float = 0.1,
                 teacher_temperature: float | None = None, class_a: Any = None, class_v: Any = None,
                 trust_a: Any = None, trust_v: Any = None, kappa_a: Any = None, kappa_v: Any = None,
                 group_a: Any = None, group_v: Any = None, paired: bool = True, exclude_own: bool = False,
                 first_row: int = 0, first_column: int = 0, context: Context | None = None) -> PairTerms:
    """KL divergence of the student's alignment from the teacher's, and from the agreement of classes (METHOD.md 5).

    student_a (n x d), student_v (m x d); teacher_a (n x e), teacher_v (m x e): no gradient flows into these.
    class_a (n x C), class_v (m x C): class distributions, with trust_a (n) and trust_v (m), 0 to 1; kappa_a (n) and
        kappa_v (m): the share of the classes' agreement in a row's target, the rest is the teacher's.
    group_a (n), group_v (m), paired, exclude_own, first_row, first_column: as of contrastive().
    teacher_temperature: None: the student's.
    """
    sides = (borrow_matrix(student_a, "student_a"), borrow_matrix(student_v, "student_v"))
    rest = (_optional(borrow_matrix, class_a, "class_a"), _optional(borrow_matrix, class_v, "class_v"),
            _optional(borrow_vector, trust_a, "trust_a"), _optional(borrow_vector, trust_v, "trust_v"),
            _optional(borrow_vector, kappa_a, "kappa_a"), _optional(borrow_vector, kappa_v, "kappa_v"),
            _optional(borrow_numbers, group_a, "group_a"), _optional(borrow_numbers, group_v, "group_v"))
    teachers = (borrow_matrix(teacher_a, "teacher_a"), borrow_matrix(teacher_v, "teacher_v"))
    context = choose(context, *sides, *rest, *teachers)
    scale = context.scalar(_inverse(temperature, "temperature"))
    teacher_scale = scale if teacher_temperature is None else context.scalar(_inverse(teacher_temperature,
                                                                                     "teacher_temperature"))
    options = (("paired", int(paired)), ("exclude_own", int(exclude_own)), ("first_row", first_row),
               ("first_column", first_column))
    return PairTerms(_DISTILLATION, context, (*sides, scale, *rest, *teachers, teacher_scale), options,
                     rows_alone=False)


def _inverse(temperature: float, name: str) -> float:
    if not temperature > 0:
        raise ValueError(f"{name}: expected a number above 0, got {temperature}")
    return 1.0 / temperature


_ALIGNMENT = Operation("alignment_forward", ("a", "v", "scale"), ("lse_row", "lse_column"), sized="alignment_workspace")
_PROBABILITIES = Operation("alignment_probabilities", ("a", "v", "scale"), ("lse_row", "probabilities"),
                           sized="alignment_workspace")
_DECORRELATION = Operation("decorrelation_forward", ("a", "v"), ("loss",), sized="decorrelation_workspace")


class Alignment(NamedTuple):
    lse_row: Result  # n, float32 [nats]: log sum_j exp(s_ij)
    lse_column: Result  # m, float32 [nats]: log sum_i exp(s_ij)


def _alignment_call(a: Any, v: Any, temperature: float, score: str, exclude_own: bool,
                    context: Context | None) -> tuple[Context, tuple[Borrowed, ...], tuple[tuple[str, Any], ...]]:
    sides = (borrow_matrix(a, "a"), borrow_matrix(v, "v"))
    context = choose(context, *sides)
    options = (("score", of_choices(METRICS, score, "score")), ("exclude_own", int(exclude_own)))
    return context, (*sides, context.scalar(_inverse(temperature, "temperature"))), options


def alignment(a: Any, v: Any, *, temperature: float = 0.1, score: str = "inner", exclude_own: bool = False,
              context: Context | None = None) -> Alignment:
    """Log-sum-exps of the scores of a (n x d) and v (m x d) over rows and over columns, in one sweep (METHOD.md 4).

    score: "inner": inner products over the temperature; a distance's name: minus the distances over it.
    """
    context, inputs, options = _alignment_call(a, v, temperature, score, exclude_own, context)
    lse_row, to_row = new(context, (inputs[0].rows,))
    lse_column, to_column = new(context, (inputs[1].rows,))
    _ALIGNMENT(context, (*inputs, to_row, to_column), options)
    return Alignment(lse_row, lse_column)


def alignment_probabilities(a: Any, v: Any, *, temperature: float = 0.1, score: str = "inner",
                            exclude_own: bool = False, context: Context | None = None) -> Result:
    """P_ij = softmax_j of the scores of a and v (n x m, float32), as alignment() has them."""
    context, inputs, options = _alignment_call(a, v, temperature, score, exclude_own, context)
    _, lse_row = new(context, (inputs[0].rows,))
    array, view = new(context, (inputs[0].rows, inputs[1].rows))
    _ALIGNMENT(context, (*inputs, lse_row, None), options)
    _PROBABILITIES(context, (*inputs, lse_row, view), options)
    return array


def decorrelation(a: Any, v: Any, *, context: Context | None = None) -> Result:
    """sum_{k != l} R_kl^2 / (d (d - 1)) of a and v (n x d), R their columns' cross-correlation: 1 number.

    METHOD.md 6.8.
    """
    sides = (borrow_matrix(a, "a"), borrow_matrix(v, "v"))
    context = choose(context, *sides)
    array, view = new(context, (1,))
    _DECORRELATION(context, (*sides, view), ())
    return array
