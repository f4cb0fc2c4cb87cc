"""PyTorch's tensors as the arrays of a call: borrowed where they lie, on the stream that PyTorch works on."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor

from .. import _interface as c
from .._arrays import HOST, Borrowed
from .._context import Context, context_for, host_context
from .._operation import Operation, keep

_FEATURES = {torch.float32: c.DUET_DTYPE_F32, torch.float16: c.DUET_DTYPE_F16, torch.bfloat16: c.DUET_DTYPE_BF16}
_CODES = {torch.float32: c.DUET_DTYPE_F32, torch.int32: c.DUET_DTYPE_I32}
# Bits that no address of the type has.
_ODD = {torch.float32: 3, torch.int32: 3, torch.float16: 1, torch.bfloat16: 1, torch.int64: 7}


def context_of(tensor: Tensor) -> Context:
    """The context of the device on which tensor lies, and of the stream that PyTorch works on there."""
    if tensor.is_cuda:
        index = tensor.device.index
        return context_for(index, torch.cuda.current_stream(index).cuda_stream)
    if tensor.device.type != "cpu":
        raise ValueError(f"expected tensors on a CPU or a CUDA device, got one on {tensor.device}")
    return context_for(HOST)


def matrix(tensor: Tensor, name: str) -> Borrowed:
    """Features (n x d): float32, float16 or bfloat16. Rows that are not contiguous are copied."""
    code = _FEATURES.get(tensor.dtype)
    if code is None:
        raise TypeError(f"{name}: expected float32, float16 or bfloat16, got {tensor.dtype}")
    if tensor.dim() != 2:
        raise ValueError(f"{name}: expected 2 dimensions (rows x features), got {tensor.dim()}")
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    rows, columns = tensor.shape
    stride, step = tensor.stride()
    if (step != 1 and columns > 1) or (stride < columns and rows > 1):
        tensor = tensor.contiguous()
        stride = columns
    if tensor.data_ptr() % tensor.element_size():
        tensor = tensor.clone()
        stride = tensor.stride(0)
    return Borrowed(tensor.data_ptr(), (rows, columns, stride if rows > 1 else columns, code),
                    tensor.device.index if tensor.is_cuda else HOST, 0, tensor)


def _vector(tensor: Tensor, name: str, dtype: torch.dtype, code: int) -> Borrowed:
    if tensor.dim() != 1:
        raise ValueError(f"{name}: expected 1 dimension, got {tensor.dim()}")
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    if tensor.dtype is not dtype or not tensor.is_contiguous():
        tensor = tensor.to(dtype).contiguous()
    if tensor.data_ptr() % tensor.element_size():
        tensor = tensor.clone()
    return Borrowed(tensor.data_ptr(), (tensor.shape[0], 0, 0, code),
                    tensor.device.index if tensor.is_cuda else HOST, 0, tensor)


def vector(tensor: Tensor, name: str) -> Borrowed:
    """Real numbers (n)."""
    return _vector(tensor, name, torch.float32, c.DUET_DTYPE_F32)


def step_number(tensor: Tensor, name: str) -> Borrowed:
    """A step (1), int64."""
    return _vector(tensor, name, torch.int64, c.DUET_DTYPE_I64)


def numbers(tensor: Tensor, name: str) -> Borrowed:
    """Whole numbers (n), as int32. Beyond 32 bits they are refused on a CPU; on a device nothing waits for them."""
    return _vector(narrow(tensor, name), name, torch.int32, c.DUET_DTYPE_I32)


def narrow(tensor: Tensor, name: str) -> Tensor:
    """Whole numbers as int32."""
    dtype = tensor.dtype
    if dtype is torch.int32:
        return tensor
    if dtype.is_floating_point or dtype.is_complex:
        raise TypeError(f"{name}: expected whole numbers, got {dtype}")
    if dtype is not torch.int64 or not tensor.is_cpu:
        return tensor.to(torch.int32)
    wide = tensor.numpy()  # of a small tensor NumPy's two passes take a third of PyTorch's time
    out = wide.astype(np.int32)
    if (out != wide).any():
        raise ValueError(f"{name}: expected numbers of 32 bits")
    return torch.from_numpy(out)


def words(tensor: Tensor, name: str) -> Borrowed:
    """Label sets as bits (S x w), int32, in C order."""
    rows, columns = tensor.shape
    return Borrowed(tensor.data_ptr(), (rows, columns, columns, c.DUET_DTYPE_I32),
                    tensor.device.index if tensor.is_cuda else HOST, 0, tensor)


def new(like: Tensor, *shape: int, zero: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that a call writes, on the device of another."""
    if zero or like.dtype is not dtype:
        return like.new_zeros(shape, dtype=dtype) if zero else like.new_empty(shape, dtype=dtype)
    return like.new_empty(*shape) if shape else like.new_empty(())  # the forms that PyTorch reads soonest


def upstream(gradient: Tensor) -> Tensor:
    """A gradient that comes in, as a call reads it: float32 in C order. That of a sum is one number in all places."""
    if gradient.dtype is torch.float32 and gradient.is_contiguous():
        return gradient
    return gradient.to(torch.float32).contiguous()


def zeros_like(tensor: Tensor) -> Tensor:
    """Of float32, in C order: a gradient, to which a call adds."""
    return tensor.new_zeros(tensor.shape, dtype=torch.float32)


def written(tensor: Tensor) -> Borrowed:
    """A new tensor as the call that writes it takes it."""
    shape, code = tensor.shape, _CODES[tensor.dtype]
    rows = shape[0] if shape else 1
    layout = (rows, shape[1], shape[1], code) if len(shape) == 2 else (rows, 0, 0, code)
    return Borrowed(tensor.data_ptr(), layout, tensor.device.index if tensor.is_cuda else HOST, 0, tensor)


class TensorCall:
    """An operation on tensors. On a CPU, tensors in C order of shapes and types like those of an earlier call go by its
    plan.

    reads: of each field that is read, what borrows it and the name that its errors say. scalars: the scalar fields.
    """

    def __init__(self, operation: Operation, reads: Sequence[tuple[Callable[[Tensor, str], Borrowed], str]],
                 scalars: tuple[str, ...] = ()) -> None:
        self.operation, self.reads, self.scalars = operation, tuple(reads), scalars

    def __call__(self, given: Sequence[Optional[Tensor]], options: tuple[Any, ...],
                 outputs: Sequence[Optional[Tensor]], which: Any = None) -> None:
        """given: the fields that are read; outputs: those that are written, new tensors, whose shapes follow from it.
        which: tells which of them are None, where the options do not."""
        facts: list[Any] = [self, options, which]
        put, addresses = facts.append, []
        for each in given:
            if each is None:
                put(None)
                continue
            if not (each.is_cpu and each.is_contiguous()):
                return self._first(given, options, outputs, None)
            dtype, address = each.dtype, each.data_ptr()
            if address & _ODD.get(dtype, 0):
                return self._first(given, options, outputs, None)
            put(dtype)
            put(each.shape)
            addresses.append(address)
        key = tuple(facts)
        context = host_context()
        plan = None if context is None else context.plans.get(key)
        if context is None or plan is None:
            return self._first(given, options, outputs, key)
        for each in outputs:
            if each is not None:
                addresses.append(each.data_ptr())
        with context.lock:
            if context.handle is None:
                raise ValueError("context: it is closed")
            for (_, cell, _), address in zip(plan.arrays, addresses):
                cell.value = address
            self.operation.launch(context, context.handle, plan)

    def _first(self, given: Sequence[Optional[Tensor]], options: tuple[Any, ...], outputs: Sequence[Optional[Tensor]],
               key: Optional[tuple[Any, ...]]) -> None:
        arrays = [None if each is None else kind(each, name) for each, (kind, name) in zip(given, self.reads)]
        of_outputs = [None if each is None else written(each) for each in outputs]
        first = given[0]
        assert first is not None
        context, fields = context_of(first), tuple(zip(self.scalars, options))
        self.operation(context, [*arrays, *of_outputs], fields)
        if key is not None and all(each is None or each.owner is of for each, of in zip(arrays, given)):
            with context.lock:
                plan = self.operation.host_plan(context._alive(), [*arrays, *of_outputs], fields, ())
                keep(context, key, plan, options)
