"""How an operation becomes a PyTorch operator: `torch.ops.duet.NAME` for all that traces, compiles, transforms or casts,
and beside it a short way for plain tensors, which PyTorch's dispatcher would cost more time than a small call takes."""
from __future__ import annotations

from typing import Any, Callable, Optional

import torch
from torch import Tensor

__all__ = ["operator", "plain"]

_BOTH = ("cpu", "cuda")
_strided, _Parameter = torch.strided, torch.nn.Parameter
_modes, _functions = torch._C._len_torch_dispatch_stack, torch._C._len_torch_function_stack
_transforms, _casts = torch._C._functorch.peek_interpreter_stack, torch._C._is_any_autocast_enabled
_traces = torch._C._get_tracing_state


def plain(arguments: tuple[Any, ...]) -> bool:
    """Whether the tensors among arguments are memory and nothing else, and nobody watches or changes operators."""
    if torch.compiler.is_compiling():
        return False
    for each in arguments:
        kind = type(each)
        if kind is Tensor or kind is _Parameter:
            if each.layout is not _strided or each.is_neg() or not (each.is_cpu or each.is_cuda):
                return False
        elif isinstance(each, Tensor):
            return False
    return not (_modes() or _functions() or _casts() or _transforms() is not None or _traces() is not None)


def operator(name: str, schema: str, kernel: Callable[..., Any], fake: Callable[..., Any],
             setup: Optional[Callable[..., None]] = None,
             backward: Optional[Callable[..., Any]] = None) -> Callable[..., Any]:
    """Registers `duet::NAME` and returns what calls it.

    kernel: computes; fake: makes what it returns, without values. setup and backward: as of register_autograd(), where
    it is differentiable; then autocast makes its inputs float32.
    """
    registered: Any = torch.library.custom_op("duet::" + name, kernel, mutates_args=(), device_types=_BOTH,
                                              schema=schema)
    registered.register_fake(fake)
    if setup is None or backward is None:
        def gradient(*arguments: Any) -> Any:
            # A gradient has none of its own: where one is asked for, the operator says so.
            if not torch.is_grad_enabled() and plain(arguments):
                return kernel(*arguments)
            return registered(*arguments)

        return gradient
    registered.register_autograd(backward, setup_context=setup)
    for device in _BOTH:
        torch.library.register_autocast("duet::" + name, device, torch.float32)
    apply: Callable[..., Any] = _function(kernel, setup, backward).apply

    def call(*arguments: Any) -> Any:
        if not plain(arguments):
            return registered(*arguments)
        if torch.is_grad_enabled():
            for each in arguments:
                if isinstance(each, Tensor) and each.requires_grad:
                    return apply(*arguments)
        return kernel(*arguments)

    return call


def _function(kernel: Callable[..., Any], setup: Callable[..., None], backward: Callable[..., Any]) -> Any:
    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            out = kernel(*arguments)
            setup(ctx, arguments, out)
            return out

    Eager.backward = staticmethod(backward)  # type: ignore[method-assign]
    return Eager
