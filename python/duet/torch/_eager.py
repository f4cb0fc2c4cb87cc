"""How an operation becomes a PyTorch operator: `torch.ops.duet.NAME` for all that traces, compiles, transforms or
casts; beside it a short way for plain tensors, which PyTorch's dispatcher would cost more time than a small call
takes."""
from __future__ import annotations

from typing import Any, Callable, Optional

import torch
from torch import Tensor

__all__ = ["keeps_to_itself", "operator", "watched"]

_BOTH = ("cpu", "cuda")
_strided, _Parameter = torch.strided, torch.nn.Parameter
_NUMBERS = frozenset((type(None), bool, int, float))
# PyTorch's own questions, which are not public: under a version that has not all of them everything goes by the
# operator.
try:
    _modes, _functions = torch._C._len_torch_dispatch_stack, torch._C._len_torch_function_stack
    _transforms, _casts = torch._C._functorch.peek_interpreter_stack, torch._C._is_any_autocast_enabled
    _traces = torch._C._get_tracing_state
    HAS_SHORT_WAY = isinstance(torch.autograd.Function, type)
except AttributeError:
    HAS_SHORT_WAY = False


def watched() -> bool:
    """Whether somebody compiles, traces, casts, transforms or counts operators, or nobody can tell."""
    return bool(not HAS_SHORT_WAY or torch.compiler.is_compiling() or _modes() or _functions() or _casts()
                or _transforms() is not None or _traces() is not None)


def tracked(arguments: tuple[Any, ...]) -> Optional[bool]:
    """Whether one of the tensors among arguments has a gradient to come; None where one of them is more than memory:
    of a subclass, sparse, negated, of another device than a CPU or a CUDA device."""
    out = False
    for each in arguments:
        if each is None:
            continue
        kind = type(each)
        if kind in _NUMBERS:
            continue
        if (kind is not Tensor and kind is not _Parameter) or each.layout is not _strided or each.is_neg() or not (
                each.is_cpu or each.is_cuda):
            return None
        out = out or each.requires_grad
    return out


def operator(name: str, schema: str, kernel: Callable[..., Any], fake: Callable[..., Any],
             setup: Optional[Callable[..., None]] = None,
             backward: Optional[Callable[..., Any]] = None,
             value: Optional[Callable[..., Any]] = None, results: Optional[int] = None,
             leading: Optional[int] = None) -> Callable[..., Any]:
    """Registers `duet::NAME` and returns what calls it.

    kernel: computes; fake: makes what it returns, without values. setup and backward: as of register_autograd(), where
    it is differentiable; then autocast makes its inputs float32. value: kernel where no gradient is to come, None for
    what a gradient alone would read. results: how many of the tensors that it returns are results, the others being
    what a gradient reads, which the short way keeps to itself. leading: how many of the arguments, the first ones, may
    have a gradient: the short way hands all of them on as one tuple, since PyTorch takes time for each by itself.
    """
    registered: Any = torch.library.custom_op("duet::" + name, kernel, mutates_args=(), device_types=_BOTH,
                                              schema=schema)
    registered.register_fake(fake)
    without = value or kernel
    if setup is None or backward is None:
        def gradient(*arguments: Any) -> Any:
            # A gradient has none of its own: where one is asked for, the operator says so.
            if torch.is_grad_enabled() or watched() or tracked(arguments) is None:
                return registered(*arguments)
            return without(*arguments)

        return gradient
    registered.register_autograd(backward, setup_context=setup)
    for device in _BOTH:
        torch.library.register_autocast("duet::" + name, device, torch.float32)
    if not HAS_SHORT_WAY:
        return registered  # type: ignore[no-any-return]
    # Function.apply() without its look at functorch, of which watched() knows that there is none.
    short = _function(kernel, setup, backward, results, leading)
    apply: Callable[..., Any] = super(torch.autograd.Function, short).apply

    def call(*arguments: Any) -> Any:
        if watched():
            return registered(*arguments)
        of_gradient = tracked(arguments)
        if of_gradient is None:
            return registered(*arguments)
        if not of_gradient or not torch.is_grad_enabled():
            return without(*arguments)
        if leading is None:
            return apply(*arguments)
        first = arguments[:leading]
        # A tensor that has no gradient here, and asks for one, is left to the operator.
        if not any(each is not None and each.requires_grad for each in first):
            return registered(*arguments)
        return apply(*first, arguments)

    return call


def keeps_to_itself(ctx: Any, *kept: Tensor) -> None:
    """Of setup: tensors that are no results of an operator have no gradient."""
    if not getattr(ctx, "short", False):
        ctx.mark_non_differentiable(*kept)


def _function(kernel: Callable[..., Any], setup: Callable[..., None], backward: Callable[..., Any],
              results: Optional[int], leading: Optional[int]) -> Any:
    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            if leading is not None:
                arguments = arguments[leading]
            out = kernel(*arguments)
            ctx.short = results is not None
            setup(ctx, arguments, out)
            return out if results is None else out[:results]

    Eager.backward = staticmethod(backward)  # type: ignore[method-assign]
    return Eager
