"""The C interface of duet (kernels/duet.h) through ctypes, as far as the comparisons need it: the very arrays that the
peers read."""
import ctypes
from ctypes import POINTER, Structure, byref, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p, sizeof

import numpy as np

SQEUCLIDEAN, EUCLIDEAN, COSINE, INNER = range(4)
INFONCE = 0
ALL = 0
DTYPES = {np.dtype(np.float32): 0, np.dtype(np.int32): 3, np.dtype(np.int64): 4}


class Matrix(Structure):
    _fields_ = [("data", c_void_p), ("rows", c_int64), ("columns", c_int64), ("row_stride", c_int64), ("dtype", c_int)]


class Vector(Structure):
    _fields_ = [("data", c_void_p), ("size", c_int64), ("dtype", c_int)]


class Workspace(Structure):
    _fields_ = [("data", c_void_p), ("bytes", c_size_t)]


class ContextOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("device", c_int),
        ("device_index", c_int32),
        ("threads", c_int32),
        ("precision", c_int),
        ("stream", c_void_p),
    ]


def _struct(name, fields):
    """A struct of the interface: struct_size first; matrices, vectors and scalars by the words that stand before each
    group of names."""
    kinds = {"m": Matrix, "v": Vector, "i32": c_int32, "i64": c_int64, "enum": c_int, "f32": c_float, "u64": c_uint64}
    members = [("struct_size", c_size_t)]
    for group in fields.split(";"):
        kind, *names = group.split()
        members += [(each, kinds[kind]) for each in names]
    return type(name, (Structure,), {"_fields_": members})


DistanceInputs = _struct("DistanceInputs", "m x y; enum metric")
AlignmentInputs = _struct("AlignmentInputs", "enum score; m a v; v scale")
ContrastiveInputs = _struct(
    "ContrastiveInputs",
    "enum kind; m a v class_a class_v; v trust_a trust_v scale bias; i32 paired; i64 first_row first_column",
)
DistillationInputs = _struct(
    "DistillationInputs",
    "m student_a student_v teacher_a teacher_v class_a class_v; "
    "v trust_a trust_v kappa_a kappa_v scale teacher_scale; i32 paired; i64 first_row first_column",
)
MiningInputs = _struct("MiningInputs", "m x y; v labels_x labels_y; enum metric; i64 first_row first_column")
MiningHardOutputs = _struct("MiningHardOutputs", "v positive_index negative_index positive_distance negative_distance")
RetrievalInputs = _struct(
    "RetrievalInputs",
    "m queries gallery; v query_labels gallery_labels; i32 paired; i64 first_row first_column; "
    "v query_groups gallery_groups cutoffs",
)
RetrievalOutputs = _struct(
    "RetrievalOutputs",
    "v relevant average_precision precision_at_r precision_over_cutoffs; m recall precision_recall; v matching; "
    "m pair_recall",
)


class MiningDraw(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("seed", c_uint64),
        ("step", Vector),
        ("slots", c_int64),
        ("total_columns", c_int64),
    ]


class TripletInputs(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("x", Matrix),
        ("y", Matrix),
        ("class_x", Matrix),
        ("class_y", Matrix),
        ("trust_x", Vector),
        ("trust_y", Vector),
        ("labels_x", Vector),
        ("labels_y", Vector),
        ("metric", c_int),
        ("mining", c_int),
        ("margin", c_float),
        ("paired", c_int32),
        ("first_row", c_int64),
        ("first_column", c_int64),
        ("draw", MiningDraw),
    ]


def view(array):
    """None is the null view that the interface takes for "not needed"."""
    if not array.flags.c_contiguous:
        raise ValueError("an array handed to duet has to be contiguous")
    if array.ndim == 2:
        return Matrix(array.ctypes.data, *array.shape, array.shape[1], DTYPES[array.dtype])
    return Vector(array.ctypes.data, array.size, DTYPES[array.dtype])


def make(kind, /, **values):
    """A struct of the interface, arrays as views; it keeps the arrays alive."""
    out = kind(struct_size=sizeof(kind))
    out.arrays = [value for value in values.values() if isinstance(value, np.ndarray)]
    for name, value in values.items():
        setattr(out, name, view(value) if isinstance(value, np.ndarray) else value)
    return out


class Duet:
    """The library and a context on it."""

    def __init__(self, path, threads):
        self.library = ctypes.CDLL(str(path))
        self.library.duet_last_error.restype = ctypes.c_char_p
        self.library.duet_version.restype = ctypes.c_char_p
        self.context = c_void_p()
        self.call("context_create", byref(make(ContextOptions, threads=threads)), byref(self.context))

    def call(self, name, *arguments):
        plain = [view(each) if isinstance(each, np.ndarray) else each for each in arguments]
        if getattr(self.library, "duet_" + name)(*plain):
            raise RuntimeError(self.library.duet_last_error().decode())

    def run(self, name, inputs, *arguments):
        self.call(name, self.context, byref(inputs), *arguments)

    def workspace(self, operation, inputs):
        size = c_size_t()
        self.run(operation + "_workspace", inputs, byref(size))
        memory = np.empty(size.value + 64, np.uint8)
        out = Workspace(-(-memory.ctypes.data // 64) * 64, size.value)
        out.memory = memory
        return out
