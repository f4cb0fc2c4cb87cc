"""The differentiable operations as PyTorch's custom operators `torch.ops.duet.*`: eager, autograd, torch.compile,
autocast (float32 inside).

An operator's gradient is an operator too. What a kernel writes are new tensors of float32; gradients have the type of
what they belong to.
"""
from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from .. import _interface as c
from .._operation import Operation
from ..distances import _BACKWARD as _DISTANCE_BACKWARD
from ..distances import _FORWARD as _DISTANCE
from ._tensors import context_of, matrix, new, vector, written


def register(name: str, operator: Any, fake: Any, setup: Any = None, backward: Any = None) -> None:
    """What torch.compile needs of an operator, and where differentiable its gradient and its type under autocast."""
    operator.register_fake(fake)
    if backward is not None:
        operator.register_autograd(backward, setup_context=setup)
        for device in ("cpu", "cuda"):
            torch.library.register_autocast("duet::" + name, device, torch.float32)


def as_input(gradient: Tensor, of: Tensor) -> Tensor:
    """A gradient in the type of its input."""
    return gradient if gradient.dtype is of.dtype else gradient.to(of.dtype)


def _distance(x: Tensor, y: Tensor, metric: int) -> Tensor:
    of_x, of_y = matrix(x, "x"), matrix(y, "y")
    out = new(x, of_x.rows, of_y.rows)
    _DISTANCE(context_of(x), (of_x, of_y, written(out)), (("metric", metric),))
    return out


def _distance_backward(x: Tensor, y: Tensor, distances: Tensor, grad: Tensor, metric: int) -> tuple[Tensor, Tensor]:
    grad_x, grad_y = new(x, *x.shape, zero=True), new(y, *y.shape, zero=True)
    known = matrix(distances, "distances") if metric in (c.DUET_METRIC_EUCLIDEAN, c.DUET_METRIC_COSINE) else None
    _DISTANCE_BACKWARD(context_of(x), (matrix(x, "x"), matrix(y, "y"), known, matrix(grad.float(), "grad"),
                                       written(grad_x), written(grad_y)), (("metric", metric),))
    return grad_x, grad_y


distance = torch.library.custom_op("duet::distance", _distance, mutates_args=(), device_types=("cpu", "cuda"),
                                   schema="(Tensor x, Tensor y, int metric) -> Tensor")
distance_backward = torch.library.custom_op(
    "duet::distance_backward", _distance_backward, mutates_args=(), device_types=("cpu", "cuda"),
    schema="(Tensor x, Tensor y, Tensor distances, Tensor grad, int metric) -> (Tensor, Tensor)")


def _setup_distance(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, y, ctx.metric = inputs
    ctx.save_for_backward(x, y, output)


def _distance_gradient(ctx: Any, grad: Tensor) -> tuple[Optional[Tensor], ...]:
    x, y, distances = ctx.saved_tensors
    grad_x, grad_y = distance_backward(x, y, distances, grad, ctx.metric)
    return as_input(grad_x, x), as_input(grad_y, y), None


register("distance", distance, lambda x, y, metric: new(x, x.shape[0], y.shape[0]), _setup_distance, _distance_gradient)
register("distance_backward", distance_backward,
         lambda x, y, distances, grad, metric: (new(x, *x.shape), new(y, *y.shape)))

_UNIT_ROWS = Operation("unit_rows_forward", ("x",), ("outputs",))
_UNIT_ROWS_BACKWARD = Operation("unit_rows_backward", ("x",), ("grad_outputs", "grad_x"))


def _unit_rows(x: Tensor) -> Tensor:
    of_x = matrix(x.float(), "x")
    out = new(x, *x.shape)
    _UNIT_ROWS(context_of(x), (of_x, written(out)))
    return out


def _unit_rows_backward(x: Tensor, grad: Tensor) -> Tensor:
    out = new(x, *x.shape, zero=True)
    _UNIT_ROWS_BACKWARD(context_of(x), (matrix(x.float(), "x"), matrix(grad.float(), "grad"), written(out)))
    return out


unit_rows = torch.library.custom_op("duet::unit_rows", _unit_rows, mutates_args=(), device_types=("cpu", "cuda"),
                                    schema="(Tensor x) -> Tensor")
unit_rows_backward = torch.library.custom_op("duet::unit_rows_backward", _unit_rows_backward, mutates_args=(),
                                             device_types=("cpu", "cuda"), schema="(Tensor x, Tensor grad) -> Tensor")


def _setup_first(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])


def _unit_rows_gradient(ctx: Any, grad: Tensor) -> Tensor:
    (x,) = ctx.saved_tensors
    return as_input(unit_rows_backward(x, grad), x)


register("unit_rows", unit_rows, lambda x: new(x, *x.shape), _setup_first, _unit_rows_gradient)
register("unit_rows_backward", unit_rows_backward, lambda x, grad: new(x, *x.shape))

_DECORRELATION = Operation("decorrelation_forward", ("a", "v"), ("loss",), sized="decorrelation_workspace")
_DECORRELATION_BACKWARD = Operation("decorrelation_backward", ("a", "v"), ("grad_loss", "grad_a", "grad_v"),
                                    sized="decorrelation_workspace")


def _decorrelation(a: Tensor, v: Tensor) -> Tensor:
    out = new(a, 1)
    _DECORRELATION(context_of(a), (matrix(a, "a"), matrix(v, "v"), written(out)))
    return out


def _decorrelation_backward(a: Tensor, v: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    grad_a, grad_v = new(a, *a.shape, zero=True), new(v, *v.shape, zero=True)
    _DECORRELATION_BACKWARD(context_of(a), (matrix(a, "a"), matrix(v, "v"), vector(grad, "grad"), written(grad_a),
                                            written(grad_v)))
    return grad_a, grad_v


decorrelation = torch.library.custom_op("duet::decorrelation", _decorrelation, mutates_args=(),
                                        device_types=("cpu", "cuda"), schema="(Tensor a, Tensor v) -> Tensor")
decorrelation_backward = torch.library.custom_op(
    "duet::decorrelation_backward", _decorrelation_backward, mutates_args=(), device_types=("cpu", "cuda"),
    schema="(Tensor a, Tensor v, Tensor grad) -> (Tensor, Tensor)")


def _setup_both(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _decorrelation_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    a, v = ctx.saved_tensors
    grad_a, grad_v = decorrelation_backward(a, v, grad)
    return as_input(grad_a, a), as_input(grad_v, v)


register("decorrelation", decorrelation, lambda a, v: new(a, 1), _setup_both, _decorrelation_gradient)
register("decorrelation_backward", decorrelation_backward, lambda a, v, grad: (new(a, *a.shape), new(v, *v.shape)))

_CROSS_ENTROPY = Operation("cross_entropy_forward", ("logits", "targets"), ("row_loss",))
_CROSS_ENTROPY_BACKWARD = Operation("cross_entropy_backward", ("logits", "targets"), ("row_weight", "grad_logits"))


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    out = new(logits, logits.shape[0])
    _CROSS_ENTROPY(context_of(logits), (matrix(logits.float(), "logits"), matrix(targets.float(), "targets"),
                                        written(out)))
    return out


def _cross_entropy_backward(logits: Tensor, targets: Tensor, grad: Tensor) -> Tensor:
    out = new(logits, *logits.shape, zero=True)
    _CROSS_ENTROPY_BACKWARD(context_of(logits), (matrix(logits.float(), "logits"), matrix(targets.float(), "targets"),
                                                 vector(grad, "grad"), written(out)))
    return out


cross_entropy = torch.library.custom_op("duet::cross_entropy", _cross_entropy, mutates_args=(),
                                        device_types=("cpu", "cuda"),
                                        schema="(Tensor logits, Tensor targets) -> Tensor")
cross_entropy_backward = torch.library.custom_op(
    "duet::cross_entropy_backward", _cross_entropy_backward, mutates_args=(), device_types=("cpu", "cuda"),
    schema="(Tensor logits, Tensor targets, Tensor grad) -> Tensor")


def _cross_entropy_gradient(ctx: Any, grad: Tensor) -> tuple[Optional[Tensor], ...]:
    logits, targets = ctx.saved_tensors
    return as_input(cross_entropy_backward(logits, targets, grad), logits), None


register("cross_entropy", cross_entropy, lambda logits, targets: new(logits, logits.shape[0]), _setup_both,
         _cross_entropy_gradient)
register("cross_entropy_backward", cross_entropy_backward, lambda logits, targets, grad: new(logits, *logits.shape))
