"""PyTorch's tensors as the arrays of a call: borrowed where they lie, on the stream that PyTorch works on."""
from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from .. import _interface as c
from .._arrays import HOST, Borrowed
from .._context import Context, context_for

_FEATURES = {torch.float32: c.DUET_DTYPE_F32, torch.float16: c.DUET_DTYPE_F16, torch.bfloat16: c.DUET_DTYPE_BF16}


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
    rows, columns = tensor.shape
    stride, step = tensor.stride()
    if (step != 1 and columns > 1) or (stride < columns and rows > 1):
        tensor = tensor.contiguous()
        stride = columns
    return Borrowed(tensor.data_ptr(), (rows, columns, stride if rows > 1 else columns, code),
                    tensor.device.index if tensor.is_cuda else HOST, 0, tensor)


def _vector(tensor: Tensor, name: str, dtype: torch.dtype, code: int) -> Borrowed:
    if tensor.dim() != 1:
        raise ValueError(f"{name}: expected 1 dimension, got {tensor.dim()}")
    if tensor.dtype is not dtype or not tensor.is_contiguous():
        tensor = tensor.to(dtype).contiguous()
    return Borrowed(tensor.data_ptr(), (tensor.shape[0], 0, 0, code),
                    tensor.device.index if tensor.is_cuda else HOST, 0, tensor)


def vector(tensor: Tensor, name: str) -> Borrowed:
    """Real numbers (n)."""
    return _vector(tensor, name, torch.float32, c.DUET_DTYPE_F32)


def numbers(tensor: Tensor, name: str) -> Borrowed:
    """Whole numbers (n), as int32. Beyond 32 bits they are refused on a CPU; on a device nothing waits for them."""
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        raise TypeError(f"{name}: expected whole numbers, got {tensor.dtype}")
    if tensor.dtype is torch.int64 and not tensor.is_cuda and tensor.numel():
        low, high = torch.aminmax(tensor)
        if int(low) < -(2**31) or int(high) >= 2**31:
            raise ValueError(f"{name}: expected numbers of 32 bits")
    return _vector(tensor, name, torch.int32, c.DUET_DTYPE_I32)


def optional(kind: Any, tensor: Optional[Tensor], name: str) -> Optional[Borrowed]:
    out: Optional[Borrowed] = None if tensor is None else kind(tensor, name)
    return out


def new(like: Tensor, *shape: int, zero: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that a call writes, on the device of another."""
    make = torch.zeros if zero else torch.empty
    return make(shape, dtype=dtype, device=like.device)


def written(tensor: Tensor) -> Borrowed:
    """A new tensor of float32 as the call that writes it takes it."""
    shape = tensor.shape
    layout = (shape[0], shape[1], shape[1], c.DUET_DTYPE_F32) if len(shape) == 2 else (shape[0], 0, 0, c.DUET_DTYPE_F32)
    return Borrowed(tensor.data_ptr(), layout, tensor.device.index if tensor.is_cuda else HOST, 0, tensor)
