"""The losses on pairs as PyTorch's operators: contrastive, distillation, alignment, triplets."""
from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from .. import _interface as c
from .._operation import Operation
from ..losses import _ALIGNMENT, _CONTRASTIVE, _DISTILLATION
from ..triplets import _TRIPLET
from ._ops import as_input, register
from ._tensors import context_of, matrix, new, numbers, optional, vector, written

Optionals = tuple[Optional[Tensor], ...]
_BOTH = ("cpu", "cuda")

# Of the arguments that both passes of a loss take.
_CONTRASTIVE_ARGUMENTS = (
    "Tensor a, Tensor v, Tensor scale, Tensor? bias, Tensor? class_a, Tensor? class_v, Tensor? trust_a, "
    "Tensor? trust_v, Tensor? labels_a, Tensor? labels_v, Tensor? group_a, Tensor? group_v, int kind, bool paired, "
    "bool exclude_own, float margin, int first_row, int first_column")
_DISTILLATION_ARGUMENTS = (
    "Tensor a, Tensor v, Tensor scale, Tensor teacher_a, Tensor teacher_v, Tensor teacher_scale, Tensor? class_a, "
    "Tensor? class_v, Tensor? trust_a, Tensor? trust_v, Tensor? kappa_a, Tensor? kappa_v, Tensor? group_a, "
    "Tensor? group_v, bool paired, bool exclude_own, int first_row, int first_column")
_FOUR = "(Tensor, Tensor, Tensor, Tensor)"


def _of_contrastive(arguments: tuple[Any, ...]) -> tuple[list[Any], tuple[tuple[str, Any], ...]]:
    (a, v, scale, bias, class_a, class_v, trust_a, trust_v, labels_a, labels_v, group_a, group_v, kind, paired,
     exclude_own, margin, first_row, first_column) = arguments
    arrays = [matrix(a, "a"), matrix(v, "v"), vector(scale, "scale"), optional(matrix, class_a, "class_a"),
              optional(matrix, class_v, "class_v"), optional(vector, trust_a, "trust_a"),
              optional(vector, trust_v, "trust_v"), optional(numbers, labels_a, "labels_a"),
              optional(numbers, labels_v, "labels_v"), optional(numbers, group_a, "group_a"),
              optional(numbers, group_v, "group_v"), optional(vector, bias, "bias")]
    return arrays, (("kind", kind), ("paired", int(paired)), ("exclude_own", int(exclude_own)), ("margin", margin),
                    ("first_row", first_row), ("first_column", first_column))


def _has_columns(arguments: tuple[Any, ...]) -> bool:
    return bool(arguments[12] != c.DUET_CONTRASTIVE_KIND_SIGMOID)


def _terms(a: Tensor, v: Tensor, statistics: int, columns: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n, m = a.shape[0], v.shape[0]
    if not columns:
        return new(a, n), new(a, 0), new(a, 0, statistics), new(a, 0, statistics)
    return new(a, n), new(a, m), new(a, n, statistics), new(a, m, statistics)


def _contrastive(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    a, v = arguments[0], arguments[1]
    arrays, options = _of_contrastive(arguments)
    columns = _has_columns(arguments)
    out = _terms(a, v, c.DUET_CONTRASTIVE_STATISTICS, columns)
    outputs = [written(each) for each in out] if columns else [written(out[0]), None, None, None]
    _CONTRASTIVE.forward(context_of(a), [*arrays, *outputs], options)
    return out


def _contrastive_backward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    arrays, options = _of_contrastive(arguments[:18])
    row_statistics, column_statistics, row_weight, column_weight = arguments[18:]
    a, v, columns = arguments[0], arguments[1], _has_columns(arguments)
    out = new(a, *a.shape, zero=True), new(v, *v.shape, zero=True), new(a, 1, zero=True), new(a, 1, zero=True)
    read = ([matrix(row_statistics, "row_statistics"), matrix(column_statistics, "column_statistics"),
             vector(row_weight, "row_weight"), vector(column_weight, "column_weight")] if columns
            else [None, None, vector(row_weight, "row_weight"), None])
    _CONTRASTIVE.backward(context_of(a), [*arrays, *read, written(out[0]), written(out[1]), written(out[2]),
                                          None if columns else written(out[3])], options)
    return out


contrastive = torch.library.custom_op("duet::contrastive", _contrastive, mutates_args=(), device_types=_BOTH,
                                      schema=f"({_CONTRASTIVE_ARGUMENTS}) -> {_FOUR}")
contrastive_backward = torch.library.custom_op(
    "duet::contrastive_backward", _contrastive_backward, mutates_args=(), device_types=_BOTH,
    schema=f"({_CONTRASTIVE_ARGUMENTS}, Tensor row_statistics, Tensor column_statistics, Tensor row_weight, "
           f"Tensor column_weight) -> {_FOUR}")


class _Saved:
    """The arguments of a call, tensors as PyTorch wants them saved, and the others."""

    def __init__(self, ctx: Any, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
        self.places = [place for place, each in enumerate(inputs) if isinstance(each, Tensor)]
        self.rest = [None if isinstance(each, Tensor) else each for each in inputs]
        ctx.save_for_backward(*(inputs[place] for place in self.places), *outputs)
        ctx.mark_non_differentiable(*outputs)

    def restored(self, saved: tuple[Tensor, ...]) -> tuple[list[Any], tuple[Tensor, ...]]:
        arguments = list(self.rest)
        for place, tensor in zip(self.places, saved):
            arguments[place] = tensor
        return arguments, saved[len(self.places):]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.saved = _Saved(ctx, inputs, output[2:4])


def _contrastive_gradient(ctx: Any, row_weight: Tensor, column_weight: Tensor, *_: Any) -> tuple[Optional[Tensor], ...]:
    arguments, statistics = ctx.saved.restored(ctx.saved_tensors)
    grad_a, grad_v, grad_scale, grad_bias = contrastive_backward(*arguments, *statistics, row_weight, column_weight)
    bias = arguments[3]
    return (as_input(grad_a, arguments[0]), as_input(grad_v, arguments[1]), as_input(grad_scale, arguments[2]),
            None if bias is None else as_input(grad_bias, bias), *[None] * 14)


register("contrastive", contrastive,
         lambda *arguments: _terms(arguments[0], arguments[1], c.DUET_CONTRASTIVE_STATISTICS, _has_columns(arguments)),
         _setup, _contrastive_gradient)
register("contrastive_backward", contrastive_backward,
         lambda *arguments: (new(arguments[0], *arguments[0].shape), new(arguments[1], *arguments[1].shape),
                             new(arguments[0], 1), new(arguments[0], 1)))


def _of_distillation(arguments: tuple[Any, ...]) -> tuple[list[Any], tuple[tuple[str, Any], ...]]:
    (a, v, scale, teacher_a, teacher_v, teacher_scale, class_a, class_v, trust_a, trust_v, kappa_a, kappa_v, group_a,
     group_v, paired, exclude_own, first_row, first_column) = arguments
    arrays = [matrix(a, "student_a"), matrix(v, "student_v"), vector(scale, "scale"),
              optional(matrix, class_a, "class_a"), optional(matrix, class_v, "class_v"),
              optional(vector, trust_a, "trust_a"), optional(vector, trust_v, "trust_v"),
              optional(vector, kappa_a, "kappa_a"), optional(vector, kappa_v, "kappa_v"),
              optional(numbers, group_a, "group_a"), optional(numbers, group_v, "group_v"),
              matrix(teacher_a, "teacher_a"), matrix(teacher_v, "teacher_v"), vector(teacher_scale, "teacher_scale")]
    return arrays, (("paired", int(paired)), ("exclude_own", int(exclude_own)), ("first_row", first_row),
                    ("first_column", first_column))


def _distillation(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    arrays, options = _of_distillation(arguments)
    out = _terms(arguments[0], arguments[1], c.DUET_DISTILLATION_STATISTICS)
    _DISTILLATION.forward(context_of(arguments[0]), [*arrays, *[written(each) for each in out]], options)
    return out


def _distillation_backward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    arrays, options = _of_distillation(arguments[:18])
    row_statistics, column_statistics, row_weight, column_weight = arguments[18:]
    a, v = arguments[0], arguments[1]
    out = new(a, *a.shape, zero=True), new(v, *v.shape, zero=True), new(a, 1, zero=True)
    _DISTILLATION.backward(context_of(a), [
        *arrays, matrix(row_statistics, "row_statistics"), matrix(column_statistics, "column_statistics"),
        vector(row_weight, "row_weight"), vector(column_weight, "column_weight"), *[written(each) for each in out]],
        options)
    return out


distillation = torch.library.custom_op("duet::distillation", _distillation, mutates_args=(), device_types=_BOTH,
                                       schema=f"({_DISTILLATION_ARGUMENTS}) -> {_FOUR}")
distillation_backward = torch.library.custom_op(
    "duet::distillation_backward", _distillation_backward, mutates_args=(), device_types=_BOTH,
    schema=f"({_DISTILLATION_ARGUMENTS}, Tensor row_statistics, Tensor column_statistics, Tensor row_weight, "
           "Tensor column_weight) -> (Tensor, Tensor, Tensor)")


def _distillation_gradient(ctx: Any, row_weight: Tensor, column_weight: Tensor,
                           *_: Any) -> tuple[Optional[Tensor], ...]:
    arguments, statistics = ctx.saved.restored(ctx.saved_tensors)
    grad_a, grad_v, grad_scale = distillation_backward(*arguments, *statistics, row_weight, column_weight)
    return (as_input(grad_a, arguments[0]), as_input(grad_v, arguments[1]), as_input(grad_scale, arguments[2]),
            *[None] * 15)


register("distillation", distillation,
         lambda *arguments: _terms(arguments[0], arguments[1], c.DUET_DISTILLATION_STATISTICS), _setup,
         _distillation_gradient)
register("distillation_backward", distillation_backward,
         lambda *arguments: (new(arguments[0], *arguments[0].shape), new(arguments[1], *arguments[1].shape),
                             new(arguments[0], 1)))

_ALIGNMENT_BACKWARD = Operation(
    "alignment_backward", ("a", "v", "scale"),
    ("lse_row", "lse_column", "grad_lse_row", "grad_lse_column", "grad_a", "grad_v", "grad_scale"),
    sized="alignment_workspace")


def _alignment(a: Tensor, v: Tensor, scale: Tensor, score: int, exclude_own: bool) -> tuple[Tensor, Tensor]:
    rows, columns = new(a, a.shape[0]), new(a, v.shape[0])
    _ALIGNMENT(context_of(a), (matrix(a, "a"), matrix(v, "v"), vector(scale, "scale"), written(rows), written(columns)),
               (("score", score), ("exclude_own", int(exclude_own))))
    return rows, columns


def _alignment_backward(a: Tensor, v: Tensor, scale: Tensor, rows: Tensor, columns: Tensor, grad_rows: Tensor,
                        grad_columns: Tensor, score: int, exclude_own: bool) -> tuple[Tensor, Tensor, Tensor]:
    out = new(a, *a.shape, zero=True), new(v, *v.shape, zero=True), new(a, 1, zero=True)
    _ALIGNMENT_BACKWARD(context_of(a), (matrix(a, "a"), matrix(v, "v"), vector(scale, "scale"), vector(rows, "lse_row"),
                                        vector(columns, "lse_column"), vector(grad_rows, "grad_lse_row"),
                                        vector(grad_columns, "grad_lse_column"), *[written(each) for each in out]),
                        (("score", score), ("exclude_own", int(exclude_own))))
    return out


alignment = torch.library.custom_op(
    "duet::alignment", _alignment, mutates_args=(), device_types=_BOTH,
    schema="(Tensor a, Tensor v, Tensor scale, int score, bool exclude_own) -> (Tensor, Tensor)")
alignment_backward = torch.library.custom_op(
    "duet::alignment_backward", _alignment_backward, mutates_args=(), device_types=_BOTH,
    schema="(Tensor a, Tensor v, Tensor scale, Tensor rows, Tensor columns, Tensor grad_rows, Tensor grad_columns, "
           "int score, bool exclude_own) -> (Tensor, Tensor, Tensor)")


def _setup_alignment(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    a, v, scale, ctx.score, ctx.exclude_own = inputs
    ctx.save_for_backward(a, v, scale, *output)


def _alignment_gradient(ctx: Any, grad_rows: Tensor, grad_columns: Tensor) -> tuple[Optional[Tensor], ...]:
    a, v, scale, rows, columns = ctx.saved_tensors
    grads = alignment_backward(a, v, scale, rows, columns, grad_rows, grad_columns, ctx.score, ctx.exclude_own)
    return as_input(grads[0], a), as_input(grads[1], v), as_input(grads[2], scale), None, None


register("alignment", alignment, lambda a, v, scale, score, exclude_own: (new(a, a.shape[0]), new(a, v.shape[0])),
         _setup_alignment, _alignment_gradient)
register("alignment_backward", alignment_backward,
         lambda a, v, *_: (new(a, *a.shape), new(v, *v.shape), new(a, 1)))


def _triplet(x: Tensor, y: Tensor, class_x: Optional[Tensor], class_y: Optional[Tensor], trust_x: Optional[Tensor],
             trust_y: Optional[Tensor], labels_x: Optional[Tensor], labels_y: Optional[Tensor],
             group_x: Optional[Tensor], group_y: Optional[Tensor], step: Optional[Tensor], metric: int, mining: int,
             margin: float, paired: bool, exclude_own: bool, seed: int,
             slots: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    row_loss, row_active, sum_x, sum_y = new(x, x.shape[0]), new(x, x.shape[0]), new(x, *x.shape), new(y, *y.shape)
    of_step = None
    draw: tuple[tuple[str, Any], ...] = ()
    if step is not None:
        of_step = vector(new(x, 1), "step")._replace(address=step.data_ptr(), layout=(1, 0, 0, c.DUET_DTYPE_I64),
                                                     owner=step)
        draw = (("draw.seed", seed), ("draw.slots", slots))
    _TRIPLET(context_of(x), (
        matrix(x, "x"), matrix(y, "y"), optional(matrix, class_x, "class_x"), optional(matrix, class_y, "class_y"),
        optional(vector, trust_x, "trust_x"), optional(vector, trust_y, "trust_y"),
        optional(numbers, labels_x, "labels_x"), optional(numbers, labels_y, "labels_y"),
        optional(numbers, group_x, "group_x"), optional(numbers, group_y, "group_y"), of_step, written(row_loss),
        written(row_active), written(sum_x), written(sum_y)),
        (*draw, ("metric", metric), ("mining", mining), ("margin", margin), ("paired", int(paired)),
         ("exclude_own", int(exclude_own))))
    # T of docs/METHOD.md section 3: the mean over the active triplets, whose number is a constant.
    active = row_active.sum(dtype=torch.float64)
    loss = row_loss.sum(dtype=torch.float64) / torch.where(active == 0, torch.ones_like(active), active)
    return loss.float(), active.float(), sum_x, sum_y


triplet = torch.library.custom_op(
    "duet::triplet", _triplet, mutates_args=(), device_types=_BOTH,
    schema="(Tensor x, Tensor y, Tensor? class_x, Tensor? class_y, Tensor? trust_x, Tensor? trust_y, Tensor? labels_x, "
           "Tensor? labels_y, Tensor? group_x, Tensor? group_y, Tensor? step, int metric, int mining, float margin, "
           f"bool paired, bool exclude_own, int seed, int slots) -> {_FOUR}")


def _setup_triplet(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    ctx.types = (inputs[0].dtype, inputs[1].dtype)
    ctx.save_for_backward(*output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _triplet_gradient(ctx: Any, grad: Tensor, *_: Any) -> tuple[Optional[Tensor], ...]:
    active, sum_x, sum_y = ctx.saved_tensors
    share = torch.where(active == 0, torch.zeros_like(active), grad / active)
    return (sum_x * share).to(ctx.types[0]), (sum_y * share).to(ctx.types[1]), *[None] * 16


register("triplet", triplet, lambda x, y, *_: (x.new_empty((), dtype=torch.float32),
                                               x.new_empty((), dtype=torch.float32), new(x, *x.shape),
                                               new(y, *y.shape)), _setup_triplet, _triplet_gradient)
