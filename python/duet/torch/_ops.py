"""The differentiable operations as PyTorch's custom operators `torch.ops.duet.*`: eager, autograd, torch.compile,
autocast (float32 inside).

An operator's gradient is an operator too. What a kernel writes are new tensors of float32; gradients have the type of
what they belong to.
"""
from __future__ import annotations

from typing import Any, Optional

from torch import Tensor

from .. import _interface as c
from .._operation import Operation
from ..distances import _BACKWARD as _DISTANCE_BACKWARD
from ..distances import _FORWARD as _DISTANCE
from ..distances import _UNIT_ROWS
from ..losses import _DECORRELATION
from ._eager import operator
from ._tensors import TensorCall, matrix, new, upstream, vector, zeros_like


def as_input(gradient: Tensor, of: Tensor) -> Tensor:
    """A gradient in the type of its input."""
    return gradient if gradient.dtype is of.dtype else gradient.to(of.dtype)


_PAIR = ((matrix, "x"), (matrix, "y"))
_distance_call = TensorCall(_DISTANCE, _PAIR, ("metric",))
_distance_backward_call = TensorCall(_DISTANCE_BACKWARD, (*_PAIR, (matrix, "distances"), (matrix, "grad")), ("metric",))
_KNOWN = (c.DUET_METRIC_EUCLIDEAN, c.DUET_METRIC_COSINE)  # whose gradients read the distances


def _rows(tensor: Tensor, name: str) -> int:
    if tensor.dim() != 2:
        raise ValueError(f"{name}: expected 2 dimensions (rows x features), got {tensor.dim()}")
    return tensor.size(0)


def _distance(x: Tensor, y: Tensor, metric: int) -> Tensor:
    out = new(x, _rows(x, "x"), _rows(y, "y"))
    _distance_call((x, y), (metric,), (out,))
    return out


def _distance_gradients(x: Tensor, y: Tensor, distances: Tensor, grad: Tensor, metric: int, of_x: bool,
                        of_y: bool) -> tuple[Optional[Tensor], Optional[Tensor]]:
    """None for what is not needed."""
    out = zeros_like(x) if of_x else None, zeros_like(y) if of_y else None
    _distance_backward_call((x, y, distances if metric in _KNOWN else None, upstream(grad)), (metric,), out,
                            (of_x, of_y))
    return out


def _fake_gradients(x: Tensor, y: Tensor, distances: Tensor, grad: Tensor, metric: int, of_x: bool,
                    of_y: bool) -> tuple[Tensor, Tensor]:
    return new(x, *x.shape) if of_x else new(x, 0), new(y, *y.shape) if of_y else new(x, 0)


distance_backward = operator(
    "distance_backward",
    "(Tensor x, Tensor y, Tensor distances, Tensor grad, int metric, bool of_x, bool of_y) -> (Tensor, Tensor)",
    lambda x, *rest: tuple(new(x, 0) if each is None else each for each in _distance_gradients(x, *rest)),
    _fake_gradients, value=_distance_gradients)


def _setup_distance(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, y, ctx.metric = inputs
    ctx.save_for_backward(x, y, output)


def _distance_gradient(ctx: Any, grad: Tensor) -> tuple[Optional[Tensor], ...]:
    x, y, distances = ctx.saved_tensors
    of_x, of_y, _ = ctx.needs_input_grad
    grad_x, grad_y = distance_backward(x, y, distances, grad, ctx.metric, of_x, of_y)
    return as_input(grad_x, x) if of_x else None, as_input(grad_y, y) if of_y else None, None


distance = operator("distance", "(Tensor x, Tensor y, int metric) -> Tensor", _distance,
                    lambda x, y, metric: new(x, x.shape[0], y.shape[0]), _setup_distance, _distance_gradient)

_unit_rows_call = TensorCall(_UNIT_ROWS, ((matrix, "x"),))
_unit_rows_backward_call = TensorCall(Operation("unit_rows_backward", ("x",), ("grad_outputs", "grad_x")),
                                      ((matrix, "x"), (matrix, "grad")))


def _unit_rows(x: Tensor) -> Tensor:
    out = new(x, *x.shape)
    _unit_rows_call((x.float(),), (), (out,))
    return out


def _unit_rows_backward(x: Tensor, grad: Tensor) -> Tensor:
    out = zeros_like(x)
    _unit_rows_backward_call((x.float(), upstream(grad)), (), (out,))
    return out


unit_rows_backward = operator("unit_rows_backward", "(Tensor x, Tensor grad) -> Tensor", _unit_rows_backward,
                              lambda x, grad: new(x, *x.shape))


def _setup_first(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])


def _unit_rows_gradient(ctx: Any, grad: Tensor) -> Tensor:
    (x,) = ctx.saved_tensors
    return as_input(unit_rows_backward(x, grad), x)


unit_rows = operator("unit_rows", "(Tensor x) -> Tensor", _unit_rows, lambda x: new(x, *x.shape), _setup_first,
                     _unit_rows_gradient)

_decorrelation_call = TensorCall(_DECORRELATION, ((matrix, "a"), (matrix, "v")))
_decorrelation_backward_call = TensorCall(
    Operation("decorrelation_backward", ("a", "v"), ("grad_loss", "grad_a", "grad_v"), sized="decorrelation_workspace"),
    ((matrix, "a"), (matrix, "v"), (vector, "grad")))


def _decorrelation(a: Tensor, v: Tensor) -> Tensor:
    out = new(a, 1)
    _decorrelation_call((a, v), (), (out,))
    return out


def _decorrelation_backward(a: Tensor, v: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    out = zeros_like(a), zeros_like(v)
    _decorrelation_backward_call((a, v, upstream(grad)), (), out)
    return out


decorrelation_backward = operator(
    "decorrelation_backward", "(Tensor a, Tensor v, Tensor grad) -> (Tensor, Tensor)", _decorrelation_backward,
    lambda a, v, grad: (new(a, *a.shape), new(v, *v.shape)))


def _setup_both(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _decorrelation_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    a, v = ctx.saved_tensors
    grad_a, grad_v = decorrelation_backward(a, v, grad)
    return as_input(grad_a, a), as_input(grad_v, v)


decorrelation = operator("decorrelation", "(Tensor a, Tensor v) -> Tensor", _decorrelation, lambda a, v: new(a, 1),
                         _setup_both, _decorrelation_gradient)

_ENTROPY = ((matrix, "logits"), (matrix, "targets"))
_cross_entropy_call = TensorCall(Operation("cross_entropy_forward", ("logits", "targets"), ("row_loss",)), _ENTROPY)
_cross_entropy_backward_call = TensorCall(
    Operation("cross_entropy_backward", ("logits", "targets"), ("row_weight", "grad_logits")),
    (*_ENTROPY, (vector, "grad")))


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    out = new(logits, _rows(logits, "logits"))
    _cross_entropy_call((logits.float(), targets.float()), (), (out,))
    return out


def _cross_entropy_backward(logits: Tensor, targets: Tensor, grad: Tensor) -> Tensor:
    out = zeros_like(logits)
    _cross_entropy_backward_call((logits.float(), targets.float(), upstream(grad)), (), (out,))
    return out


cross_entropy_backward = operator("cross_entropy_backward", "(Tensor logits, Tensor targets, Tensor grad) -> Tensor",
                                  _cross_entropy_backward, lambda logits, targets, grad: new(logits, *logits.shape))


def _cross_entropy_gradient(ctx: Any, grad: Tensor) -> tuple[Optional[Tensor], ...]:
    logits, targets = ctx.saved_tensors
    return as_input(cross_entropy_backward(logits, targets, grad), logits), None


cross_entropy = operator("cross_entropy", "(Tensor logits, Tensor targets) -> Tensor", _cross_entropy,
                         lambda logits, targets: new(logits, logits.shape[0]), _setup_both, _cross_entropy_gradient)
