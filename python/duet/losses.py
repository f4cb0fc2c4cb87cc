"""Losses on all pairs of rows, streamed: contrastive, distillation, alignment, decorrelation (METHOD.md 4 to 6).

A loss is called with its arrays and returns its terms: what each row and each column loses. `terms.loss` is their mean
as METHOD.md weights it, `terms.gradients()` what that loss, or any weighting of the terms, is to the inputs.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from . import _interface as c
from ._arrays import HOST, Borrowed, borrow_matrix, borrow_numbers, borrow_vector, view_of
from ._context import Context, context_for
from ._labels import borrow_sets, label_sides, placed
from ._operation import Input, Operation, Output, as_read
from ._results import Result, choose, of_choices, real
from .distances import METRICS

__all__ = ["Alignment", "PairGradients", "PairTerms", "alignment", "alignment_probabilities", "contrastive",
           "decorrelation", "distillation"]

_KINDS = {"infonce": c.DUET_CONTRASTIVE_KIND_INFONCE, "multi_positive": c.DUET_CONTRASTIVE_KIND_MULTI_POSITIVE,
          "sigmoid": c.DUET_CONTRASTIVE_KIND_SIGMOID, "decoupled": c.DUET_CONTRASTIVE_KIND_DECOUPLED,
          "circle": c.DUET_CONTRASTIVE_KIND_CIRCLE, "ntxent": c.DUET_CONTRASTIVE_KIND_NTXENT}

_OUTPUTS = ("row_loss", "column_loss", "row_statistics", "column_statistics")
_GRADIENTS = ("row_statistics", "column_statistics", "row_weight", "column_weight", "grad_a", "grad_v", "grad_scale")
_CONTRASTIVE_INPUTS = ("a", "v", "scale", "bias", "class_a", "class_v", "trust_a", "trust_v", "labels_a", "labels_v",
                       "group_a", "group_v", "annotated_a", "annotated_v", "label_sets")
_DISTILLATION_INPUTS = ("student_a", "student_v", "scale", "class_a", "class_v", "trust_a", "trust_v", "kappa_a",
                        "kappa_v", "group_a", "group_v", "teacher_a", "teacher_v", "teacher_scale", "annotated_a",
                        "annotated_v")


class PairGradients(NamedTuple):
    grad_a: Result  # n x d, float32
    grad_v: Result  # m x d, float32
    grad_scale: Result  # 1, float32: by 1 / temperature
    grad_bias: Result = None  # 1, float32: of the sigmoid loss


class _PairLoss:
    """The two passes of a loss on pairs, its scalar fields and the number of statistics of a row."""

    def __init__(self, name: str, inputs: Sequence[str], scalars: tuple[str, ...], statistics: int,
                 more_gradients: tuple[str, ...] = ()) -> None:
        size = name + "_workspace"
        self.forward = Operation(name + "_forward", inputs, _OUTPUTS, sized=size)
        self.backward = Operation(name + "_backward", inputs, _GRADIENTS + more_gradients, sized=size)
        self.scalars, self.statistics = scalars, statistics
        self.has_bias = bool(more_gradients)

    def fields(self, options: tuple[Any, ...]) -> tuple[tuple[str, Any], ...]:
        """The scalar fields that a loss's options are."""
        return tuple(zip(self.scalars, options))

    def first(self, context: Context, options: tuple[Any, ...], inputs: Sequence[Input],
              columns: bool) -> tuple[Sequence[Any], list[Any]]:
        """The forward pass where there is no plan yet: the inputs as read, and what it writes."""
        a, v = inputs[0], inputs[1]
        assert isinstance(a, Borrowed) and isinstance(v, Borrowed)
        rows, of_columns = Output((a.rows,)), (Output((v.rows,)), Output((a.rows, self.statistics)),
                                               Output((v.rows, self.statistics)))
        made = self.forward.run(context, options, inputs, self.fields(options), rows,
                                *(of_columns if columns else (None, None, None)))
        return as_read(inputs), made


_CONTRASTIVE = _PairLoss("contrastive", _CONTRASTIVE_INPUTS,
                         ("kind", "paired", "exclude_own", "margin", "first_row", "first_column"),
                         c.DUET_CONTRASTIVE_STATISTICS, ("grad_bias",))
_DISTILLATION = _PairLoss("distillation", _DISTILLATION_INPUTS, ("paired", "exclude_own", "first_row", "first_column"),
                          c.DUET_DISTILLATION_STATISTICS)


class PairTerms:
    """What the rows of a and of v lose. The arrays are kept, not copied: leave them as they are until gradients() is
    read.

    row_loss: n, float32 [nats]. column_loss: m, float32 [nats]; None of the sigmoid loss, which has row terms alone.
    """

    __slots__ = ("_context", "_inputs", "_of", "_options", "_statistics", "column_loss", "row_loss")

    def __init__(self, of: _PairLoss, context: Context | None, inputs: Sequence[Any], options: tuple[Any, ...],
                 made: Sequence[Any]) -> None:
        self._of, self._context, self._inputs, self._options = of, context, inputs, options  # inputs: of as_read()
        self.row_loss, self.column_loss = made[0], made[1]
        self._statistics = made[2:]

    @property
    def loss(self) -> float:
        """The mean of the rows' terms, and with columns the mean of both means."""
        parts = [_mean(each) for each in (self.row_loss, self.column_loss) if each is not None]
        return sum(parts) / len(parts)

    def gradients(self, row_weight: Any = None, column_weight: Any = None) -> PairGradients:
        """What sum_i row_weight_i row_loss_i + sum_j column_weight_j column_loss_j is to the inputs.

        row_weight: n; column_weight: m. Neither given: those of `loss`. One given: the other is 0.
        """
        if row_weight is None and column_weight is None:
            share = 1 if self.column_loss is None else 2
            row_weight = _filled(self._context, self.row_loss, share)
            if self.column_loss is not None:
                column_weight = _filled(self._context, self.column_loss, share)
        given = (*self._inputs, *self._statistics, row_weight, column_weight)
        made = self._of.backward.again(self._context, given, self._options)
        if made is None:
            inputs = [_view(each) for each in (*self._inputs, *self._statistics)]
            rows, columns = (None if each is None else borrow_vector(each, name) for each, name in (
                (row_weight, "row_weight"), (column_weight, "column_weight")))
            a, v = inputs[0], inputs[1]
            outputs: list[Output | None] = [Output((a.rows, a.columns), zero=True),
                                            Output((v.rows, v.columns), zero=True), Output((1,), zero=True)]
            if self._of.has_bias:
                outputs.append(Output((1,), zero=True) if self.column_loss is None else None)
            context = self._context or context_for(HOST)
            made = self._of.backward.run(context, self._options, (*inputs, rows, columns),
                                         self._of.fields(self._options), *outputs)
        return PairGradients(*made)


def _view(value: Any) -> Any:
    """An array that a call has taken already, as the next one takes it; numbers, and what is borrowed, as they are."""
    if isinstance(value, np.ndarray):
        return view_of(value)
    if hasattr(value, "__cuda_array_interface__"):
        return borrow_matrix(value, "statistics")
    return value


def _mean(array: Any) -> float:
    host = array if isinstance(array, np.ndarray) else array.numpy()
    return float(host.mean(dtype=np.float64)) if host.size else 0.0


def _filled(context: Context | None, like: Any, share: int) -> Any:
    """A vector of the length of like and of the sum 1 / share, where like lies."""
    size = like.shape[0]
    host = _few_filled(size, share) if size <= _FEW else np.full(size, 1 / (share * size), np.float32)
    if context is None or context.device_index == HOST:
        return host
    from ._device_array import DeviceArray

    return DeviceArray.of(host, context)


_FEW = 4096  # elements; so many are kept from call to call


@lru_cache(maxsize=64)
def _few_filled(size: int, share: int) -> np.ndarray[Any, Any]:
    return np.full(size, 1 / (share * max(1, size)), np.float32)


def _optional(kind: Any, value: Any, name: str) -> Borrowed | None:
    out: Borrowed | None = None if value is None else kind(value, name)
    return out


def contrastive(a: Any, v: Any, kind: str = "infonce", *, temperature: float = 0.1, bias: float = 0.0,
                class_a: Any = None, class_v: Any = None, trust_a: Any = None, trust_v: Any = None,
                labels_a: Any = None, labels_v: Any = None, group_a: Any = None, group_v: Any = None,
                annotated_a: Any = None, annotated_v: Any = None, paired: bool = True, exclude_own: bool = False,
                margin: float = 0.0, first_row: int = 0, first_column: int = 0,
                context: Context | None = None) -> PairTerms:
    """A contrastive loss of a (n x d) against v (m x d); scores are inner products over the temperature.

    kind: "infonce" (CLIP's loss; rows of equal index are pairs), "multi_positive" (supervised contrastive; by labels,
        or by class_a n x C and class_v m x C with trust_a n and trust_v m), "sigmoid" (SigLIP; with bias), "decoupled",
        "circle" (with margin, 0: 0.25) or "ntxent" (several positives); METHOD.md 5.
    labels_a (n), labels_v (m): whole numbers, below 0: unlabelled; or n x C and m x C of 0 and 1, where rows that share
        a class are alike. group_a (n), group_v (m): rows of one number, 0 or more, are positives of each other.
    annotated_a (n), annotated_v (m): with classes, not 0 where a row's are known: two such rows agree where they share
        a class, and not at all where they share none.
    paired: with classes, rows of equal index are positives whatever their trust.
    exclude_own: rows of equal index take no part with each other; so a set is compared with itself.
    first_row, first_column: the global indices of the first rows, of a part of a larger batch.
    Raises ValueError, naming the argument, where a kind does not read what is given or shapes differ.
    """
    of_kind = of_choices(_KINDS, kind, "kind")
    sigmoid = kind == "sigmoid"
    if bias and not sigmoid:
        raise ValueError(f"bias: expected 0 with kind {kind!r}, which has none")
    labels_a, labels_v, sets = label_sides(labels_a, labels_v, "labels_a", "labels_v")
    scale, of_bias = _inverse(temperature, "temperature"), real(bias, "bias") if sigmoid else None
    options = (of_kind, paired and class_a is not None and kind == "multi_positive", exclude_own, margin,
               first_row, first_column)
    given: Sequence[Any] = (a, v, scale, of_bias, class_a, class_v, trust_a, trust_v, labels_a, labels_v, group_a,
                            group_v, annotated_a, annotated_v, sets)
    made = _CONTRASTIVE.forward.again(context, given, options)
    if made is None:
        sides = (borrow_matrix(a, "a"), borrow_matrix(v, "v"))
        if sets is not None:
            labels_a, labels_v, sets = placed(context, sides[0], labels_a, labels_v, sets)
        rest = (_optional(borrow_matrix, class_a, "class_a"), _optional(borrow_matrix, class_v, "class_v"),
                _optional(borrow_vector, trust_a, "trust_a"), _optional(borrow_vector, trust_v, "trust_v"),
                _optional(borrow_numbers, labels_a, "labels_a"), _optional(borrow_numbers, labels_v, "labels_v"),
                _optional(borrow_numbers, group_a, "group_a"), _optional(borrow_numbers, group_v, "group_v"))
        annotated = (_optional(borrow_vector, annotated_a, "annotated_a"),
                     _optional(borrow_vector, annotated_v, "annotated_v"))
        context = choose(context, *sides, *rest, *annotated)
        inputs = (*sides, scale, of_bias, *rest, *annotated, None if sets is None else borrow_sets(sets))
        given, made = _CONTRASTIVE.first(context, options, inputs, columns=not sigmoid)
    return PairTerms(_CONTRASTIVE, context, given, options, made)


def distillation(student_a: Any, student_v: Any, teacher_a: Any, teacher_v: Any, *, temperature: float = 0.1,
                 teacher_temperature: float | None = None, class_a: Any = None, class_v: Any = None,
                 trust_a: Any = None, trust_v: Any = None, kappa_a: Any = None, kappa_v: Any = None,
                 group_a: Any = None, group_v: Any = None, annotated_a: Any = None, annotated_v: Any = None,
                 paired: bool = True, exclude_own: bool = False, first_row: int = 0, first_column: int = 0,
                 context: Context | None = None) -> PairTerms:
    """KL divergence of the student's alignment from the teacher's, and from the agreement of classes (METHOD.md 5).

    student_a (n x d), student_v (m x d); teacher_a (n x e), teacher_v (m x e): no gradient flows into these.
    class_a (n x C), class_v (m x C): class distributions, with trust_a (n) and trust_v (m), 0 to 1; kappa_a (n) and
        kappa_v (m): the share of the classes' agreement in a row's target, the rest is the teacher's.
    group_a (n), group_v (m), annotated_a (n), annotated_v (m), paired, exclude_own, first_row, first_column: as of
        contrastive().
    teacher_temperature: None: the student's.
    """
    scale = _inverse(temperature, "temperature")
    of_teacher = scale if teacher_temperature is None else _inverse(teacher_temperature, "teacher_temperature")
    options = (paired, exclude_own, first_row, first_column)
    given: Sequence[Any] = (student_a, student_v, scale, class_a, class_v, trust_a, trust_v, kappa_a, kappa_v, group_a,
                            group_v, teacher_a, teacher_v, of_teacher, annotated_a, annotated_v)
    made = _DISTILLATION.forward.again(context, given, options)
    if made is None:
        sides = (borrow_matrix(student_a, "student_a"), borrow_matrix(student_v, "student_v"))
        rest = (_optional(borrow_matrix, class_a, "class_a"), _optional(borrow_matrix, class_v, "class_v"),
                _optional(borrow_vector, trust_a, "trust_a"), _optional(borrow_vector, trust_v, "trust_v"),
                _optional(borrow_vector, kappa_a, "kappa_a"), _optional(borrow_vector, kappa_v, "kappa_v"),
                _optional(borrow_numbers, group_a, "group_a"), _optional(borrow_numbers, group_v, "group_v"))
        teachers = (borrow_matrix(teacher_a, "teacher_a"), borrow_matrix(teacher_v, "teacher_v"))
        annotated = (_optional(borrow_vector, annotated_a, "annotated_a"),
                     _optional(borrow_vector, annotated_v, "annotated_v"))
        context = choose(context, *sides, *rest, *teachers, *annotated)
        given, made = _DISTILLATION.first(context, options, (*sides, scale, *rest, *teachers, of_teacher, *annotated),
                                          columns=True)
    return PairTerms(_DISTILLATION, context, given, options, made)


def _inverse(temperature: float, name: str) -> float:
    number = real(temperature, name)
    if not number > 0:
        raise ValueError(f"{name}: expected a number above 0, got {temperature}")
    return 1.0 / number


_ALIGNMENT = Operation("alignment_forward", ("a", "v", "scale"), ("lse_row", "lse_column"), sized="alignment_workspace")
_PROBABILITIES = Operation("alignment_probabilities", ("a", "v", "scale"), ("lse_row", "probabilities"),
                           sized="alignment_workspace")
_DECORRELATION = Operation("decorrelation_forward", ("a", "v"), ("loss",), sized="decorrelation_workspace")


class Alignment(NamedTuple):
    lse_row: Result  # n, float32 [nats]: log sum_j exp(s_ij)
    lse_column: Result  # m, float32 [nats]: log sum_i exp(s_ij)


def _alignment_inputs(a: Any, v: Any, scale: float, score: str, exclude_own: bool,
                      context: Context | None) -> tuple[Context, tuple[Borrowed, Borrowed, float], Any]:
    """The context, what is read and the scalar fields."""
    of_a, of_v = borrow_matrix(a, "a"), borrow_matrix(v, "v")
    fields = (("score", of_choices(METRICS, score, "score")), ("exclude_own", exclude_own))
    return choose(context, of_a, of_v), (of_a, of_v, scale), fields


def alignment(a: Any, v: Any, *, temperature: float = 0.1, score: str = "inner", exclude_own: bool = False,
              context: Context | None = None) -> Alignment:
    """Log-sum-exps of the scores of a (n x d) and v (m x d) over rows and over columns, in one sweep (METHOD.md 4).

    score: "inner": inner products over the temperature; a distance's name: minus the distances over it.
    """
    scale, options = _inverse(temperature, "temperature"), (score, exclude_own)
    made = _ALIGNMENT.again(context, (a, v, scale), options)
    if made is None:
        context, inputs, fields = _alignment_inputs(a, v, scale, score, exclude_own, context)
        made = _ALIGNMENT.run(context, options, inputs, fields, Output((inputs[0].rows,)), Output((inputs[1].rows,)))
    return Alignment(*made)


def alignment_probabilities(a: Any, v: Any, *, temperature: float = 0.1, score: str = "inner",
                            exclude_own: bool = False, context: Context | None = None) -> Result:
    """P_ij = softmax_j of the scores of a and v (n x m, float32), as alignment() has them."""
    scale, rows_alone = _inverse(temperature, "temperature"), (score, exclude_own, "rows")
    context, inputs, fields = _alignment_inputs(a, v, scale, score, exclude_own, context)
    n, m = inputs[0].rows, inputs[1].rows
    sums = _ALIGNMENT.run(context, rows_alone, inputs, fields, Output((n,)), None)[0]
    return _PROBABILITIES.run(context, rows_alone, (*inputs, borrow_vector(sums, "lse_row")), fields,
                              Output((n, m)))[0]


def decorrelation(a: Any, v: Any, *, context: Context | None = None) -> Result:
    """sum_{k != l} R_kl^2 / (d (d - 1)) of a and v (n x d), R their columns' cross-correlation: 1 number.

    METHOD.md 6.8.
    """
    made = _DECORRELATION.again(context, (a, v))
    if made is None:
        sides = (borrow_matrix(a, "a"), borrow_matrix(v, "v"))
        made = _DECORRELATION.run(choose(context, *sides), (), sides, (), Output((1,)))
    return made[0]
