"""The C interface of duet (kernels/duet.h) through ctypes, as far as the comparisons need it: the very arrays that the peers read."""
import ctypes
from ctypes import Structure, addressof, byref, c_float, c_int, c_int32, c_int64, c_size_t, c_void_p, sizeof

import numpy as np

INNER, SQEUCLIDEAN, EUCLIDEAN, COSINE = range(4)
INFONCE = 0
ALL = 0
DTYPES = {np.dtype(np.float32): 0, np.dtype(np.int32): 3, np.dtype(np.int64): 4}


class Matrix(Structure):
    _fields_ = [("data", c_void_p), ("rows", c_int64), ("columns", c_int64), ("row_stride", c_int64), ("dtype", c_int), ("reserved", c_int32)]


class Vector(Structure):
    _fields_ = [("data", c_void_p), ("size", c_int64), ("dtype", c_int), ("reserved", c_int32)]


class Workspace(Structure):
    _fields_ = [("data", c_void_p), ("bytes", c_size_t)]


class ContextOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("device", c_int), ("device_index", c_int32), ("threads", c_int32), ("precision", c_int), ("stream", c_void_p),
                ("faults", c_void_p), ("small_rows", c_int64)]


def _struct(name, fields):
    """A struct of the interface: struct_size first; matrices, vectors, scalars and pointers by the words that stand before each group of names."""
    kinds = {"m": Matrix, "v": Vector, "i32": c_int32, "i64": c_int64, "enum": c_int, "f32": c_float, "p": c_void_p}
    members = [("struct_size", c_size_t)]
    for group in fields.split(";"):
        kind, *names = group.split()
        members += [(each, kinds[kind]) for each in names]
    return type(name, (Structure,), {"_fields_": members})


DistanceInputs = _struct("DistanceInputs", "m x y; enum metric; i32 reserved")
DistanceOutputs = _struct("DistanceOutputs", "m distances")
DistanceGradients = _struct("DistanceGradients", "m distances grad_distances grad_x grad_y")
AlignmentInputs = _struct("AlignmentInputs", "m a v; v scale; enum score; i32 reserved")
AlignmentOutputs = _struct("AlignmentOutputs", "v lse_row lse_column")
ContrastiveInputs = _struct(
    "ContrastiveInputs",
    "m a v class_a class_v; v trust_a trust_v scale bias grad_factor_a grad_factor_v labels_a labels_v group_a group_v; i64 first_row first_column;"
    "enum kind; i32 paired exclude_own; f32 margin")
DistillationInputs = _struct(
    "DistillationInputs",
    "m student_a student_v teacher_a teacher_v class_a class_v; v trust_a trust_v kappa_a kappa_v scale teacher_scale; i64 first_row first_column;"
    "i32 paired reserved")
PairOutputs = _struct("PairOutputs", "v row_loss column_loss; m row_statistics column_statistics")
DistillationGradients = _struct(
    "DistillationGradients", "m row_statistics column_statistics; v row_weight column_weight; m grad_a grad_v; v grad_scale")
ContrastiveGradients = _struct(
    "ContrastiveGradients", "m row_statistics column_statistics; v row_weight column_weight; m grad_a grad_v; v grad_scale grad_bias")
MiningInputs = _struct(
    "MiningInputs",
    "m x y; v labels_x labels_y group_x group_y; i64 first_row first_column; p draw; enum metric; f32 margin; i32 exclude_own reserved")
MiningHardSide = _struct("MiningHardSide", "v positive_index negative_index positive_distance negative_distance")
MiningHardOutputs = _struct("MiningHardOutputs", "p rows columns")
RetrievalInputs = _struct(
    "RetrievalInputs",
    "m queries gallery; v query_labels gallery_labels query_groups gallery_groups cutoffs; i64 first_row first_column; i32 paired reserved")
RetrievalOutputs = _struct(
    "RetrievalOutputs",
    "v relevant average_precision precision_at_r precision_over_cutoffs; m recall precision_recall; v matching; m pair_recall")
TripletInputs = _struct(
    "TripletInputs",
    "m x y class_x class_y; v trust_x trust_y labels_x labels_y group_x group_y; i64 first_row first_column; p draw; enum metric mining; f32 margin; i32 paired exclude_own reserved")
TripletOutputs = _struct("TripletOutputs", "v row_loss row_active; m sum_x sum_y")
TripletGradients = _struct("TripletGradients", "v active grad_loss; m grad_x grad_y")
TripletLossInputs = _struct("TripletLossInputs", "v row_loss row_active")
TripletLossOutputs = _struct("TripletLossOutputs", "v loss active")
TripletSums = _struct("TripletSums", "m sum_x sum_y")


def view(array):
    """None is the null view that the interface takes for "not needed"."""
    if not array.flags.c_contiguous:
        raise ValueError("an array handed to duet has to be contiguous")
    if array.ndim == 2:
        return Matrix(array.ctypes.data, *array.shape, array.shape[1], DTYPES[array.dtype], 0)
    return Vector(array.ctypes.data, array.size, DTYPES[array.dtype], 0)


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
