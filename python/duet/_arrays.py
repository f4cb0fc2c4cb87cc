"""Borrows arrays for a call: where their memory lies, their shape and their type, without a copy where it can.

What is taken: NumPy arrays; what speaks DLPack (`__dlpack__`: PyTorch, JAX, CuPy, TensorFlow); what has
`__cuda_array_interface__` (CuPy, Numba, PyTorch on CUDA); what NumPy makes an array of (lists).

- Features are float32, float16 or bfloat16 in rows of contiguous elements. Such rows are not copied. Other layouts
  (Fortran order, negative strides) are copied to C order, other numbers are rounded to float32.
- Labels, groups and indices are whole numbers. int32 is not copied; others are copied, and refused beyond 32 bits.
"""
from __future__ import annotations

import ctypes
import sys
from typing import Any, NamedTuple

import numpy as np

from . import _interface as c
from ._library import check, library, make

__all__ = ["Borrowed", "DATA_OFFSET", "HOST", "ITEM_BYTES", "address_of", "borrow_matrix", "borrow_numbers",
           "borrow_vector", "narrowed", "view_of"]

HOST = -1  # the device of memory that the CPU reaches; of CUDA the index of the device

_F32, _F16, _I32, _I64 = (np.dtype(name).num for name in ("float32", "float16", "int32", "int64"))
_FEATURES = {_F32: c.DUET_DTYPE_F32, _F16: c.DUET_DTYPE_F16}
ITEM_BYTES = {c.DUET_DTYPE_F32: 4, c.DUET_DTYPE_F16: 2, c.DUET_DTYPE_BF16: 2, c.DUET_DTYPE_I32: 4,
               c.DUET_DTYPE_I64: 8, c.DUET_DTYPE_U32: 4, c.DUET_DTYPE_F64: 8}
_CUDA_CODES = {"<f4": c.DUET_DTYPE_F32, "<f2": c.DUET_DTYPE_F16, "<i4": c.DUET_DTYPE_I32, "<i8": c.DUET_DTYPE_I64}


class Borrowed(NamedTuple):
    """An array for the time of a call."""

    address: int
    layout: tuple[int, int, int, int]  # rows, columns, stride from row to row in elements, type; of a vector rows, 0, 0
    device: int = HOST
    stream: int = 0  # CUDA: on which the array was made, 0: the default one
    owner: Any = None  # what keeps the memory

    @property
    def rows(self) -> int:
        return self.layout[0]

    @property
    def columns(self) -> int:
        return self.layout[1]

    @property
    def dtype(self) -> int:
        return self.layout[3]


def address_of(array: np.ndarray[Any, Any]) -> int:
    """Of the first element."""
    try:
        return ctypes.addressof(_BYTE.from_buffer(array))  # type: ignore[arg-type]  # faster than the other way
    except (TypeError, ValueError, BufferError):  # read-only, empty or not contiguous
        return int(array.__array_interface__["data"][0])


_BYTE = ctypes.c_char


def _data_offset() -> int:
    """Where an array object holds the address of its elements: behind the object's head, as NumPy's C interface lays
    down. 0 where that does not hold; calls then ask every array for its address, which is slower."""
    if sys.implementation.name != "cpython":
        return 0
    for probe in (np.zeros(3), np.zeros((4, 5), np.int32)[2:, 3:], np.zeros(0, np.float32)):
        held = ctypes.c_size_t.from_address(id(probe) + object.__basicsize__).value
        if held != probe.__array_interface__["data"][0]:
            return 0
    return object.__basicsize__


DATA_OFFSET = _data_offset()
_CODES = {"float32": c.DUET_DTYPE_F32, "float16": c.DUET_DTYPE_F16, "bfloat16": c.DUET_DTYPE_BF16,
          "int32": c.DUET_DTYPE_I32, "int64": c.DUET_DTYPE_I64}


def view_of(array: np.ndarray[Any, Any]) -> Borrowed:
    """An array of one or two dimensions that a call can take as it is."""
    code = _CODES[array.dtype.name]
    if array.ndim == 1:
        return Borrowed(address_of(array), (array.shape[0], 0, 0, code), HOST, 0, array)
    rows, columns = array.shape
    stride = array.strides[0] // array.itemsize if rows > 1 else columns
    return Borrowed(address_of(array), (rows, columns, stride, code), HOST, 0, array)


def borrow_matrix(value: Any, name: str) -> Borrowed:
    """Features (n x d). Raises TypeError or ValueError, naming the argument."""
    if isinstance(value, np.ndarray):  # a mapped file's too, as the array that it is
        value = value.view(np.ndarray)
        dtype = value.dtype
        code = _FEATURES.get(dtype.num)
        if code is not None and dtype.isnative and value.ndim == 2:
            rows, columns = value.shape
            step, item = value.strides
            size = value.itemsize
            if (item == size or columns <= 1) and step % size == 0 and (step >= columns * size or rows <= 1):
                address = address_of(value)
                if address % size == 0:
                    return Borrowed(address, (rows, columns, step // size if rows > 1 else columns, code), HOST, 0,
                                    value)
        return _host_matrix(value, name)
    foreign = _foreign(value, name, 2)
    return foreign if isinstance(foreign, Borrowed) else _host_matrix(foreign, name)


def borrow_vector(value: Any, name: str) -> Borrowed:
    """Real numbers (n)."""
    value = _one_dimension(value, name, c.DUET_DTYPE_F32, "float32")
    if isinstance(value, Borrowed):
        return value
    if value.dtype.num != _F32 or not _lies_well(value):
        value = _rounded(value, name)
    return Borrowed(address_of(value), (value.shape[0], 0, 0, c.DUET_DTYPE_F32), HOST, 0, value)


def borrow_numbers(value: Any, name: str) -> Borrowed:
    """Whole numbers (n), as int32."""
    value = _one_dimension(value, name, c.DUET_DTYPE_I32, "int32")
    if isinstance(value, Borrowed):
        return value
    if value.dtype.num != _I32 or not _lies_well(value):
        value = narrowed(value, name)
    return Borrowed(address_of(value), (value.shape[0], 0, 0, c.DUET_DTYPE_I32), HOST, 0, value)


def narrowed(value: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """Whole numbers as int32, in C order."""
    if value.dtype.kind not in "iub":
        raise TypeError(f"{name}: expected whole numbers, got {value.dtype}")
    if value.dtype.kind == "i" and value.size <= _FEW:  # there and back, which is faster than two reductions
        narrow = value.astype(np.int32, order="C")  # a copy, wherever value lies
        if narrow.astype(value.dtype).tobytes() == value.tobytes():
            return narrow
    elif not value.size or (-(2**31) <= int(value.min()) and int(value.max()) < 2**31):
        return value.astype(np.int32, order="C")
    raise ValueError(f"{name}: expected numbers of 32 bits")


_FEW = 4096  # elements whose copies stay in the cache


def _one_dimension(value: Any, name: str, code: int, type_name: str) -> Borrowed | np.ndarray[Any, Any]:
    """A vector of the type on a device, or of any type in the host's memory."""
    if type(value) is not np.ndarray:
        value = _foreign(value, name, 1)
        if isinstance(value, Borrowed):
            if value.dtype != code:
                raise TypeError(f"{name}: expected {type_name} on a CUDA device")
            return value
    if value.ndim != 1:
        raise ValueError(f"{name}: expected 1 dimension, got {value.ndim}")
    host: np.ndarray[Any, Any] = value
    return host


def _lies_well(value: np.ndarray[Any, Any]) -> bool:
    return value.dtype.isnative and value.flags.c_contiguous and value.flags.aligned


def _rounded(value: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    if value.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected real numbers, got {value.dtype}")
    return value.astype(np.float32, order="C")


def _host_matrix(value: np.ndarray[Any, Any], name: str) -> Borrowed:
    """By a copy where type or layout asks for one."""
    if value.ndim != 2:
        raise ValueError(f"{name}: expected 2 dimensions (rows x features), got {value.ndim}")
    if value.dtype.name == "bfloat16":  # of ml_dtypes
        value, code = value.copy(order="C"), c.DUET_DTYPE_BF16
    elif value.dtype.num == _F16:
        value, code = value.astype(np.float16, order="C"), c.DUET_DTYPE_F16
    else:
        value, code = _rounded(value, name), c.DUET_DTYPE_F32
    rows, columns = value.shape
    return Borrowed(address_of(value), (rows, columns, columns, code), HOST, 0, value)


def _foreign(value: Any, name: str, dimensions: int) -> Borrowed | np.ndarray[Any, Any]:
    """Of an array that is not NumPy's: its own memory where it lies on a device, else a NumPy array of it."""
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        return _from_dlpack(value, name, dimensions)
    if hasattr(value, "__cuda_array_interface__"):
        return _from_cuda(value.__cuda_array_interface__, value, name, dimensions)
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected an array, got {type(value).__name__} ({error})") from None


def _from_cuda(facts: dict[str, Any], owner: Any, name: str, dimensions: int) -> Borrowed:
    shape, code = facts["shape"], _CUDA_CODES.get(facts["typestr"])
    if code is None:
        raise TypeError(f"{name}: expected float32, float16 or int32 on a CUDA device, got {facts['typestr']}")
    if len(shape) != dimensions:
        raise ValueError(f"{name}: expected {dimensions} dimensions, got {len(shape)}")
    size, strides = ITEM_BYTES[code], facts.get("strides")
    if strides is None:
        stride = shape[-1]
    else:
        stride = strides[0] // size if dimensions == 2 else 0
        if ((strides[-1] != size and shape[-1] > 1)
                or (dimensions == 2 and shape[0] > 1 and strides[0] < shape[1] * size)):
            raise ValueError(f"{name}: expected rows of contiguous elements on a CUDA device, got strides {strides}")
    stream = facts.get("stream") or 0
    if stream == 1:  # the default one, as the interface numbers it
        stream = 0
    index: int | None = getattr(owner, "device_index", None)
    if index is None:
        index = int(getattr(getattr(owner, "device", None), "id", 0))
    layout = (shape[0], 0, 0, code) if dimensions == 1 else (shape[0], shape[1], stride, code)
    return Borrowed(facts["data"][0], layout, index, stream, owner)


_DLPACK_CUDA = 2
_get_name = ctypes.pythonapi.PyCapsule_GetName
_get_name.restype, _get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype, _get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _from_dlpack(value: Any, name: str, dimensions: int) -> Borrowed | np.ndarray[Any, Any]:
    for pending in ("resolve_conj", "resolve_neg"):
        # Of PyTorch: a tensor whose sign is still to be changed goes through DLPack with the wrong one.
        if hasattr(value, pending):
            value = getattr(value, pending)()
    if getattr(value, "requires_grad", False):
        value = value.detach()  # the library differentiates nothing here; duet.torch does
    try:
        # What a device has still to do for the array is done before what its default stream (1) does next.
        on_cuda = hasattr(value, "__dlpack_device__") and value.__dlpack_device__()[0] == _DLPACK_CUDA
        stream = {"stream": 1} if on_cuda else {}
        try:
            capsule = value.__dlpack__(max_version=(1, 0), **stream)
        except TypeError:  # from before the versioned form
            capsule = value.__dlpack__(**stream)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{name}: {type(value).__name__} does not hand over its memory: {error}") from None
    try:
        kind = _get_name(capsule)
    except ValueError:
        kind = None
    if kind not in (b"dltensor", b"dltensor_versioned"):
        raise TypeError(f"{name}: expected a DLPack capsule that nobody has taken, got {kind or capsule!r}")
    tensor = make(c.duet_dlpack_tensor)
    setattr(tensor, "versioned" if kind == b"dltensor_versioned" else "unversioned", _get_pointer(capsule, kind))
    facts = make(c.duet_dlpack_facts)
    check(library.duet_dlpack_describe(ctypes.byref(tensor), ctypes.byref(facts)))
    if facts.dimensions != dimensions:
        raise ValueError(f"{name}: expected {dimensions} dimensions, got {facts.dimensions}")
    device = HOST if facts.device == c.DUET_DEVICE_CPU else facts.device_index
    if facts.dtype < 0 or not facts.row_major:
        if device != HOST:
            raise ValueError(f"{name}: expected rows of contiguous float32, float16, bfloat16 or int32 on a "
                             "CUDA device")
        return _copied(value, name, facts.dtype)
    two = dimensions == 2
    layout = (facts.rows, facts.columns if two else 0, facts.row_stride if two else 0, facts.dtype)
    borrowed = Borrowed(facts.data or 0, layout, device, 0, (capsule, value))
    wanted = (c.DUET_DTYPE_F32, c.DUET_DTYPE_F16, c.DUET_DTYPE_BF16) if dimensions == 2 else (c.DUET_DTYPE_F32,
                                                                                            c.DUET_DTYPE_I32)
    if device == HOST and (dimensions == 1 or borrowed.dtype not in wanted
                           or borrowed.address % ITEM_BYTES[borrowed.dtype]):
        return _copied(value, name, borrowed.dtype)
    return borrowed


def _copied(value: Any, name: str, dtype: int) -> Borrowed | np.ndarray[Any, Any]:
    """A type or a layout that is not read where it lies."""
    if dtype != c.DUET_DTYPE_BF16:
        return np.from_dlpack(value)
    if not hasattr(value, "contiguous") or value.ndim != 2:  # NumPy has no bfloat16 to copy it to
        raise TypeError(f"{name}: expected rows of contiguous bfloat16, or float32")
    return _from_dlpack(value.contiguous(), name, 2)
