"""The C interface of duet (kernels/duet.h) through ctypes, as far as the comparisons need it.

The layout of its structs is that of tests/c_api/offsets.txt, which a test holds against the header.
"""
import ctypes
from ctypes import Structure, addressof, byref, c_float, c_int, c_int32, c_int64, c_size_t, c_void_p, sizeof
from pathlib import Path

import numpy as np

INNER, SQEUCLIDEAN, EUCLIDEAN, COSINE = range(4)
INFONCE = 0
ALL = 0
DTYPES = {np.dtype(np.float32): 0, np.dtype(np.int32): 3, np.dtype(np.int64): 4}
OFFSETS = Path(__file__).resolve().parents[2] / "tests/c_api/offsets.txt"


class Matrix(Structure):
    _fields_ = [("data", c_void_p), ("rows", c_int64), ("columns", c_int64), ("row_stride", c_int64), ("dtype", c_int),
                ("reserved", c_int32)]


class Vector(Structure):
    _fields_ = [("data", c_void_p), ("size", c_int64), ("dtype", c_int), ("reserved", c_int32)]


class Workspace(Structure):
    _fields_ = [("data", c_void_p), ("bytes", c_size_t)]


def _structs():
    """A ctypes struct for each of the table: views, integers and pointers by their size, floats by name."""
    layouts = {}
    for line in OFFSETS.read_text().splitlines():
        name, number = line.split()
        if line.startswith(" "):
            fields.append((name, int(number)))
        else:
            layouts[name] = int(number), (fields := [])
    kinds = {sizeof(kind): kind for kind in (Matrix, Vector, c_int64, c_int32)}
    structs = {}
    for struct, (size, fields) in layouts.items():
        ends = [offset for _, offset in fields[1:]] + [size]
        sizes = [end - begin for (_, begin), end in zip(fields, ends)]
        if all(each in kinds for each in sizes):
            structs[struct] = type(struct, (Structure,), {
                "_fields_": [(name, c_float if name == "margin" else kinds[each])
                             for (name, _), each in zip(fields, sizes)]})
    return structs


STRUCTS = _structs()


def view(array):
    """None is the null view that the interface takes for "not needed"."""
    if not array.flags.c_contiguous:
        raise ValueError("an array handed to duet has to be contiguous")
    if array.ndim == 2:
        return Matrix(array.ctypes.data, *array.shape, array.shape[1], DTYPES[array.dtype], 0)
    return Vector(array.ctypes.data, array.size, DTYPES[array.dtype], 0)


def make(kind, /, **values):
    """duet_<kind> with arrays as views; it keeps the arrays alive."""
    kind = STRUCTS["duet_" + kind]
    out = kind(struct_size=sizeof(kind))
    out.arrays = [value for value in values.values() if isinstance(value, np.ndarray)]
    for name, value in values.items():
        if not hasattr(kind, name):
            raise AttributeError(f"{kind.__name__} has no field {name}")
        setattr(out, name, view(value) if isinstance(value, np.ndarray) else value)
    return out


class Duet:
    """The library and a context on it."""

    def __init__(self, path, threads):
        self.library = ctypes.CDLL(str(path))
        self.library.duet_last_error.restype = ctypes.c_char_p
        self.library.duet_version.restype = ctypes.c_char_p
        self.context = c_void_p()
        self.call("context_create", byref(make("context_options", threads=threads)), byref(self.context))

    def call(self, name, *arguments):
        if getattr(self.library, "duet_" + name)(*arguments):
            raise RuntimeError(self.library.duet_last_error().decode())

    def run(self, name, inputs, outputs, *workspace):
        """outputs: or gradients."""
        self.call(name, self.context, byref(inputs), byref(outputs), *workspace)

    def workspace(self, operation, inputs):
        size = c_size_t()
        self.run(operation + "_workspace", inputs, size)
        memory = np.empty(size.value + 64, np.uint8)
        out = Workspace(-(-memory.ctypes.data // 64) * 64, size.value)
        out.memory = memory
        return out
