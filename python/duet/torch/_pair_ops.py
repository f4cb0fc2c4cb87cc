"""The losses on pairs as PyTorch's operators: contrastive, distillation, alignment, triplets. The tensors of an
operator stand before its options, and those that may have a gradient before the others."""
from __future__ import annotations

from typing import Any, Callable, Optional

import torch
from torch import Tensor

from .. import _interface as c
from .._operation import Operation
from ..losses import _ALIGNMENT, _CONTRASTIVE, _DISTILLATION, _PairLoss
from ..triplets import _TRIPLET
from ._eager import keeps_to_itself, operator
from ._ops import as_input
from ._tensors import TensorCall, matrix, narrow, new, numbers, step_number, upstream, vector, words, zeros_like

_CONTRASTIVE_READS = (
    (matrix, "a"), (matrix, "v"), (vector, "scale"), (vector, "bias"), (matrix, "class_a"), (matrix, "class_v"),
    (vector, "trust_a"), (vector, "trust_v"), (numbers, "labels_a"), (numbers, "labels_v"), (numbers, "group_a"),
    (numbers, "group_v"), (vector, "annotated_a"), (vector, "annotated_v"), (words, "label_sets"))
_DISTILLATION_READS = (
    (matrix, "student_a"), (matrix, "student_v"), (vector, "scale"), (matrix, "class_a"), (matrix, "class_v"),
    (vector, "trust_a"), (vector, "trust_v"), (vector, "kappa_a"), (vector, "kappa_v"), (numbers, "group_a"),
    (numbers, "group_v"), (matrix, "teacher_a"), (matrix, "teacher_v"), (vector, "teacher_scale"),
    (vector, "annotated_a"), (vector, "annotated_v"))
_OF_BACKWARD = ((matrix, "row_statistics"), (matrix, "column_statistics"), (vector, "row_weight"),
                (vector, "column_weight"))
_TRIPLET_READS = (
    (matrix, "x"), (matrix, "y"), (matrix, "class_x"), (matrix, "class_y"), (vector, "trust_x"), (vector, "trust_y"),
    (numbers, "labels_x"), (numbers, "labels_y"), (numbers, "group_x"), (numbers, "group_y"), (vector, "annotated_x"),
    (vector, "annotated_y"), (words, "label_sets"), (step_number, "step"))
_OF_FOUR = "(Tensor, Tensor, Tensor, Tensor)"


def _tensors(reads: tuple[tuple[Callable[..., Any], str], ...], needed: tuple[str, ...]) -> str:
    return ", ".join(f"Tensor{'' if name in needed else '?'} {name}" for _, name in reads)


def _narrowed(given: tuple[Any, ...], places: tuple[int, ...], reads: tuple[Any, ...]) -> list[Any]:
    """Labels and groups as int32."""
    out = list(given)
    for place in places:
        each = given[place]
        if each is not None and each.dtype is not torch.int32:
            # The same tensor on both sides is converted once.
            same = place > 0 and given[place - 1] is each
            out[place] = out[place - 1] if same else narrow(each, reads[place][1])
    return out


def _pair_loss(name: str, loss: _PairLoss, reads: tuple[Any, ...], needed: tuple[str, ...], options: str,
               wholes: tuple[int, ...], has_columns: Callable[[tuple[Any, ...]], bool]) -> Callable[..., Any]:
    """Registers a loss and its gradient.

    options: the schema of its scalars. wholes: which tensors are whole numbers. has_columns: of the scalars, whether
    the loss has column terms.
    """
    count, many, statistics = len(reads), len(loss.scalars), loss.statistics
    forward, backward = TensorCall(loss.forward, reads, loss.scalars), TensorCall(loss.backward, reads + _OF_BACKWARD,
                                                                                 loss.scalars)
    arguments = f"{_tensors(reads, needed)}, {options}"

    def fake(*arguments: Any) -> tuple[Tensor, ...]:
        a, v = arguments[0], arguments[1]
        n, m = a.shape[0], v.shape[0]
        if not has_columns(arguments[count:]):
            return new(a, n), new(a, 0), new(a, 0, statistics), new(a, 0, statistics)
        return new(a, n), new(a, m), new(a, n, statistics), new(a, m, statistics)

    def kernel(*arguments: Any) -> tuple[Tensor, ...]:
        out, scalars = fake(*arguments), arguments[count:]
        forward(_narrowed(arguments[:count], wholes, reads), scalars,
                out if has_columns(scalars) else (out[0], None, None, None))
        return out

    def gradients(*arguments: Any) -> tuple[Optional[Tensor], ...]:
        """None for what is not needed."""
        scalars = arguments[count:count + many]
        row_statistics, column_statistics, row_weight, column_weight, of_a, of_v, of_scalars = arguments[count + many:]
        columns, a = has_columns(scalars), arguments[0]
        grad_a, grad_v = zeros_like(a) if of_a else None, zeros_like(arguments[1]) if of_v else None
        grad_scalars = new(a, 1 if columns else 2, zero=True) if of_scalars else None  # of scale, of bias
        written = [grad_a, grad_v, grad_scalars if columns or grad_scalars is None else grad_scalars[:1]]
        if loss.has_bias:
            written.append(None if columns or grad_scalars is None else grad_scalars[1:])
        if row_weight is not None:
            row_weight = upstream(row_weight)
        if column_weight is not None:
            column_weight = upstream(column_weight)
        of_columns = (row_statistics, column_statistics, row_weight, column_weight)
        backward((*_narrowed(arguments[:count], wholes, reads),
                  *(of_columns if columns else (None, None, row_weight, None))), scalars, written,
                 (of_a, of_v, of_scalars))
        return grad_a, grad_v, grad_scalars

    def all_gradients(*arguments: Any) -> tuple[Tensor, ...]:
        """Without elements for what is not needed."""
        return tuple(new(arguments[0], 0) if each is None else each for each in gradients(*arguments))

    def fake_gradients(*arguments: Any) -> tuple[Tensor, ...]:
        a, v, (of_a, of_v, of_scalars) = arguments[0], arguments[1], arguments[-3:]
        return (new(a, *a.shape) if of_a else new(a, 0), new(v, *v.shape) if of_v else new(a, 0),
                new(a, (1 if has_columns(arguments[count:count + many]) else 2) if of_scalars else 0))

    gradient = operator(
        name + "_backward", f"({arguments}, Tensor row_statistics, Tensor column_statistics, Tensor? row_weight, "
        "Tensor? column_weight, bool of_a, bool of_v, bool of_scalars) -> (Tensor, Tensor, Tensor)", all_gradients,
        fake_gradients, value=gradients)

    def setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.places = [place for place in range(count) if inputs[place] is not None]
        ctx.scalars = inputs[count:]
        ctx.save_for_backward(*[inputs[place] for place in ctx.places], output[2], output[3])
        keeps_to_itself(ctx, output[2], output[3])
        ctx.set_materialize_grads(False)

    def differentiate(ctx: Any, row_weight: Optional[Tensor], column_weight: Optional[Tensor],
                      *_: Any) -> tuple[Optional[Tensor], ...]:
        *saved, row_statistics, column_statistics = ctx.saved_tensors
        tensors: list[Any] = [None] * count
        for place, tensor in zip(ctx.places, saved):
            tensors[place] = tensor
        needs = ctx.needs_input_grad
        of_bias = loss.has_bias and needs[_BIAS]
        grads = gradient(*tensors, *ctx.scalars, row_statistics, column_statistics, row_weight, column_weight, needs[0],
                         needs[1], needs[_SCALE] or of_bias)
        out: list[Optional[Tensor]] = [None] * (count + many)
        if needs[0]:
            out[0] = as_input(grads[0], tensors[0])
        if needs[1]:
            out[1] = as_input(grads[1], tensors[1])
        if needs[_SCALE]:
            out[_SCALE] = as_input(grads[2][:1], tensors[_SCALE])
        if of_bias:
            out[_BIAS] = as_input(grads[2][1:], tensors[_BIAS])
        return tuple(out)

    return operator(name, f"({arguments}) -> {_OF_FOUR}", kernel, fake, setup, differentiate, results=2,
                    leading=_BIAS + 1 if loss.has_bias else _SCALE + 1)


_SCALE, _BIAS = 2, 3  # of _CONTRASTIVE_READS; the scale of _DISTILLATION_READS too

contrastive = _pair_loss(
    "contrastive", _CONTRASTIVE, _CONTRASTIVE_READS, ("a", "v", "scale"),
    "int kind, bool paired, bool exclude_own, float margin, int first_row, int first_column", (8, 9, 10, 11),
    lambda scalars: bool(scalars[0] != c.DUET_CONTRASTIVE_KIND_SIGMOID))
distillation = _pair_loss(
    "distillation", _DISTILLATION, _DISTILLATION_READS,
    ("student_a", "student_v", "scale", "teacher_a", "teacher_v", "teacher_scale"),
    "bool paired, bool exclude_own, int first_row, int first_column", (9, 10), lambda scalars: True)

_SUMS = ((matrix, "a"), (matrix, "v"), (vector, "scale"))
_alignment_call = TensorCall(_ALIGNMENT, _SUMS, ("score", "exclude_own"))
_alignment_backward_call = TensorCall(
    Operation("alignment_backward", ("a", "v", "scale"),
              ("lse_row", "lse_column", "grad_lse_row", "grad_lse_column", "grad_a", "grad_v", "grad_scale"),
              sized="alignment_workspace"),
    (*_SUMS, (vector, "lse_row"), (vector, "lse_column"), (vector, "grad_lse_row"), (vector, "grad_lse_column")),
    ("score", "exclude_own"))


def _alignment(a: Tensor, v: Tensor, scale: Tensor, score: int, exclude_own: bool) -> tuple[Tensor, Tensor]:
    out = new(a, a.shape[0]), new(a, v.shape[0])
    _alignment_call((a, v, scale), (score, exclude_own), out)
    return out


def _alignment_backward(a: Tensor, v: Tensor, scale: Tensor, rows: Tensor, columns: Tensor, grad_rows: Tensor,
                        grad_columns: Tensor, score: int, exclude_own: bool) -> tuple[Tensor, Tensor, Tensor]:
    out = zeros_like(a), zeros_like(v), new(a, 1, zero=True)
    _alignment_backward_call((a, v, scale, rows, columns, upstream(grad_rows), upstream(grad_columns)),
                             (score, exclude_own), out)
    return out


alignment_backward = operator(
    "alignment_backward", "(Tensor a, Tensor v, Tensor scale, Tensor rows, Tensor columns, Tensor grad_rows, "
    "Tensor grad_columns, int score, bool exclude_own) -> (Tensor, Tensor, Tensor)", _alignment_backward,
    lambda a, v, *_: (new(a, *a.shape), new(v, *v.shape), new(a, 1)))


def _setup_alignment(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    a, v, scale, ctx.score, ctx.exclude_own = inputs
    ctx.save_for_backward(a, v, scale, *output)


def _alignment_gradient(ctx: Any, grad_rows: Tensor, grad_columns: Tensor) -> tuple[Optional[Tensor], ...]:
    a, v, scale, rows, columns = ctx.saved_tensors
    grads = alignment_backward(a, v, scale, rows, columns, grad_rows, grad_columns, ctx.score, ctx.exclude_own)
    return as_input(grads[0], a), as_input(grads[1], v), as_input(grads[2], scale), None, None


alignment = operator(
    "alignment", "(Tensor a, Tensor v, Tensor scale, int score, bool exclude_own) -> (Tensor, Tensor)", _alignment,
    lambda a, v, scale, score, exclude_own: (new(a, a.shape[0]), new(a, v.shape[0])), _setup_alignment,
    _alignment_gradient)

_SCALARS = ("metric", "mining", "margin", "paired", "exclude_own")
_triplet_call = TensorCall(_TRIPLET, _TRIPLET_READS, _SCALARS)
_triplet_mean_call = TensorCall(Operation("triplet_loss", ("row_loss", "row_active"), ("loss", "active")),
                                ((vector, "row_loss"), (vector, "row_active")))
_triplet_drawn_call = TensorCall(_TRIPLET, _TRIPLET_READS, (*_SCALARS, "draw.seed", "draw.slots"))


def _triplet_mean(arguments: tuple[Any, ...], sum_x: Optional[Tensor],
                  sum_y: Optional[Tensor]) -> tuple[Tensor, Tensor]:
    """T of docs/METHOD.md section 3, the mean over the active triplets, and their number, which is a constant; the
    gradients of the sum are written where asked for."""
    count = len(_TRIPLET_READS)
    x, step = arguments[0], arguments[count - 1]
    n = x.shape[0]
    loss, active, row_loss, row_active = new(x), new(x), new(x, n), new(x, n)
    given = _narrowed(arguments[:count], (6, 7, 8, 9), _TRIPLET_READS)
    call, scalars = (_triplet_call, arguments[count:-2]) if step is None else (_triplet_drawn_call, arguments[count:])
    call(given, scalars, (row_loss, row_active, sum_x, sum_y), sum_x is None)
    _triplet_mean_call((row_loss, row_active), (), (loss, active))
    return loss, active


def _triplet(x: Tensor, y: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    sum_x, sum_y = new(x, *x.shape), new(y, *y.shape)
    return (*_triplet_mean((x, y, *arguments), sum_x, sum_y), sum_x, sum_y)


def _setup_triplet(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    ctx.types = (inputs[0].dtype, inputs[1].dtype)
    ctx.save_for_backward(*output[1:])
    keeps_to_itself(ctx, *output[1:])
    ctx.set_materialize_grads(False)


def _triplet_gradient(ctx: Any, grad: Optional[Tensor], *_: Any) -> tuple[Optional[Tensor], ...]:
    nothing = [None] * (len(_TRIPLET_READS) + len(_SCALARS))  # beyond x and y
    if grad is None:
        return None, None, *nothing
    if torch.is_grad_enabled():
        raise NotImplementedError("duet::triplet: its gradient has none of its own")
    active, sum_x, sum_y = ctx.saved_tensors
    share = grad / (active + (active == 0))  # without an active triplet the sums are 0
    return (sum_x * share).to(ctx.types[0]), (sum_y * share).to(ctx.types[1]), *nothing


triplet = operator(
    "triplet", f"({_tensors(_TRIPLET_READS, ('x', 'y'))}, int metric, int mining, float margin, bool paired, "
    f"bool exclude_own, int seed, int slots) -> {_OF_FOUR}", _triplet,
    lambda x, y, *_: (x.new_empty((), dtype=torch.float32), x.new_empty((), dtype=torch.float32), new(x, *x.shape),
                      new(y, *y.shape)), _setup_triplet, _triplet_gradient,
    lambda *arguments: (*_triplet_mean(arguments, None, None), None, None), results=1, leading=2)
