"""Arrays in a device's memory: what calls return whose inputs lie on a CUDA device."""
from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from . import _interface as c
from ._arrays import HOST
from ._context import Context, default_context
from ._library import check, library

__all__ = ["DeviceArray", "device_array"]

_TYPES = {"float32": c.DUET_DTYPE_F32, "float16": c.DUET_DTYPE_F16, "int32": c.DUET_DTYPE_I32,
          "int64": c.DUET_DTYPE_I64}


class DeviceArray:
    """A C-ordered array in the memory of a context's device.

    It has `__cuda_array_interface__`, so that CuPy, Numba and PyTorch (`torch.as_tensor`) take it without a copy;
    numpy() copies it to the host.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, context: Context, *, zero: bool = False) -> None:
        self.shape, self.dtype, self.context = shape, np.dtype(dtype), context
        if self.dtype.name not in _TYPES:
            raise TypeError(f"dtype: expected one of {', '.join(_TYPES)}, got {self.dtype}")
        if context.device_index == HOST:
            raise ValueError("context: expected one of a CUDA device")
        self.address = 0
        address = ctypes.c_void_p()
        with context.lock:
            context.give_back()
            check(library.duet_memory_allocate(context._alive(), self.nbytes, ctypes.byref(address)))
            self.address = address.value or 0
            if zero:
                check(library.duet_memory_fill(context._alive(), self.address or None, 0, self.nbytes))

    @classmethod
    def of(cls, host: np.ndarray[Any, Any], context: Context) -> DeviceArray:
        """A copy of an array of the host."""
        host = np.ascontiguousarray(host)
        out = cls(host.shape, host.dtype, context)
        with context.lock:
            check(library.duet_memory_copy(context._alive(), out.address or None, host.ctypes.data, host.nbytes))
            check(library.duet_context_synchronize(context._alive()))  # host may go
        return out

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return int(self.size * self.dtype.itemsize)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def device_index(self) -> int:
        return self.context.device_index

    @property
    def code(self) -> int:
        """The type as the C interface numbers it."""
        return _TYPES[self.dtype.name]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "strides": None,
                "version": 3, "stream": self.context.stream or 1}

    def numpy(self) -> np.ndarray[Any, Any]:
        """A copy in the host's memory, when what was put on the stream is done."""
        out = np.empty(self.shape, dtype=self.dtype)
        with self.context.lock:
            check(library.duet_memory_copy(self.context._alive(), out.ctypes.data, self.address or None, self.nbytes))
            check(library.duet_context_synchronize(self.context._alive()))
        return out

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<duet.DeviceArray {self.shape} {self.dtype} on {self.context.device}>"

    def __del__(self) -> None:
        # Another thread may be in a call on the context: whoever has its lock next gives the memory back.
        if getattr(self, "address", 0):
            self.context.released.append(self.address)


def device_array(value: Any, device: str = "cuda", *, context: Context | None = None) -> DeviceArray:
    """A copy of an array of the host in a device's memory."""
    return DeviceArray.of(np.asarray(value), context or default_context(device))
