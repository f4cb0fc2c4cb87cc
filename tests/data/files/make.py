#!/usr/bin/env python3
"""Writes the files beside this one as their users' libraries write them. Needs h5py 3.16, scipy 1.17, numpy 2.4,
safetensors 0.8 and ml_dtypes (pip install). README.md lists what is in each; formats_test.cpp reads them.

Of a split with n rows, row i has audio (i, i + 1/4, i + 1/2) and visual (-i, 2 i); test rows start at i = 10. Labels
are i % 3; names are those of NAMES. Every value is exact in float16 and in bfloat16.
"""
import os
import warnings

import h5py
import ml_dtypes
import numpy as np
import scipy.io
from safetensors.numpy import save_file

ROWS = {"train": (0, 6), "test": (10, 4)}
NAMES = ["dog", "caf\u00e9", "cat"]
HERE = os.path.dirname(os.path.abspath(__file__))


def path(name):
    full = os.path.join(HERE, name)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    if os.path.exists(full):
        os.remove(full)
    return full


def numbers(split):
    first, count = ROWS[split]
    return np.arange(first, first + count)


def audio(i, dtype=np.float32):
    return (i[:, None] + np.array([0, 0.25, 0.5])).astype(dtype)


def visual(i, dtype=np.float32):
    return np.stack([-i, 2 * i], axis=1).astype(dtype)


def labels(i, dtype=np.int64):
    return (i % 3).astype(dtype)


def names(i):
    return np.array([NAMES[k % 3] for k in i])


def parts(audio_dtype, visual_dtype, label_array):
    out = {}
    for split in ROWS:
        i = numbers(split)
        out["audio_" + split] = audio(i, audio_dtype)
        out["visual_" + split] = visual(i, visual_dtype)
        out["lab_" + split] = label_array(i)
    return out


def write_npz():
    np.savez(path("stored.npz"), **parts(">f4", np.int16, labels))
    fortran = parts(np.float16, ">f8", names)
    np.savez_compressed(path("deflated.npz"), **{k: np.asfortranarray(v) for k, v in fortran.items()})
    for split in ROWS:  # a folder of them
        i = numbers(split)
        np.savez(path("npz/" + split + ".npz"), audio=audio(i), visual=visual(i, np.int8), labels=labels(i, np.uint8))


def write_safetensors():
    tensors = parts(ml_dtypes.bfloat16, np.float16, lambda i: labels(i, np.int32))
    save_file(tensors, path("parts.safetensors"), metadata={"made": "by safetensors"})


def write_vegas():
    """Layout (a): a file of parts, as that of VEGAS; labels are float, n x 1."""
    with h5py.File(path("vegas.h5"), "w") as file:
        for name, values in parts(np.float32, ">f8", lambda i: labels(i, np.float64)[:, None]).items():
            chunks = (2,) + values.shape[1:]
            file.create_dataset(name, data=values, chunks=chunks, compression="gzip", shuffle=True)


def write_flags():
    """Layout (b): all rows, and which split each is of, as bytes. Train and test rows take turns."""
    i = np.array([0, 10, 1, 11, 2, 12, 3, 13, 4, 5])
    with h5py.File(path("flags.h5"), "w") as file:
        file["audio_feat"] = audio(i, np.float16)
        file["visual_feat"] = visual(i)
        file["Label_ID"] = labels(i, np.int32)
        file["Train_test"] = np.array([b"1" if k < 10 else b"0" for k in i])


def write_ave():
    """Layout (c): a file a modality, as those of AVE, with a time axis, and files of row numbers. The mean over the
    two times is the row that the others have."""
    i = np.array([13, 5, 12, 4, 11, 3, 10, 2, 1, 0])
    row = {k: place for place, k in enumerate(i)}
    sway = np.array([-1, 1])[None, :, None]
    for name, values in {"audio_feature": audio(i)[:, None, :] + sway, "visual_feature": visual(i)[:, None, :] - sway,
                         "labels": labels(i, np.float32)}.items():
        with h5py.File(path(f"ave/{name}.h5"), "w") as file:
            file["avadataset"] = values
    for split in ROWS:
        with h5py.File(path(f"ave/{split}_order.h5"), "w") as file:
            file["order"] = np.array([row[k] for k in numbers(split)])
    with h5py.File(path("ave/val_order.h5"), "w") as file:
        file["order"] = np.array([row[0], row[1]])


def write_odd_hdf5():
    i = numbers("train")
    with h5py.File(path("other.h5"), "w") as file:
        file.create_dataset("constant", shape=(3, 2), dtype=np.float32, fillvalue=2.5)
    with h5py.File(path("types.h5"), "w") as file:
        group = file.create_group("kinds")
        group["bool"] = np.array([[True, False]])
        group["int8"] = np.array([[-1, 2]], np.int8)
        group["uint64"] = np.array([[2**40, 1]], ">u8")
        group["fixed strings"] = np.array([b"ab", b"", b"c"])
        group.create_dataset("strings", data=NAMES, dtype=h5py.string_dtype())
        group["bfloat16"] = np.zeros((2, 2), ml_dtypes.bfloat16).view(np.dtype("V2"))
        group["complex"] = np.zeros((2, 2), np.complex64)
        group["scalar"] = 1.0
        group.create_dataset("lzf", data=audio(i), compression="lzf")
        group.create_dataset("one chunk", data=audio(i), chunks=(6, 3), compression="gzip", fletcher32=True)
        group["external"] = h5py.ExternalLink("other.h5", "/constant")
        file["soft"] = h5py.SoftLink("/kinds/int8")
        layout = h5py.VirtualLayout(shape=(3, 2), dtype=np.float32)
        layout[:] = h5py.VirtualSource("other.h5", "constant", shape=(3, 2))
        group.create_virtual_dataset("virtual", layout)
    with h5py.File(path("latest.h5"), "w", libver="latest") as file:
        file["plain"] = audio(i)
        file.create_dataset("compressed", data=audio(i), chunks=(2, 3), compression="gzip")


def set_class(dataset, kind):
    """The attribute as MATLAB writes it: a string without padding, whose reader adds the zero at its end."""
    text = h5py.h5t.C_S1.copy()
    text.set_size(len(kind))
    text.set_strpad(h5py.h5t.STR_NULLTERM)
    attribute = h5py.h5a.create(dataset.id, b"MATLAB_class", text, h5py.h5s.create(h5py.h5s.SCALAR))
    attribute.write(np.array(kind.encode()), mtype=text)


def write_matlab():
    arrays = parts(np.float64, np.int16, lambda i: labels(i, np.float64))
    scipy.io.savemat(path("version5.mat"), arrays, do_compression=True)
    named = parts(np.float32, np.uint8, lambda i: np.array([str(n) for n in names(i)], dtype=object))
    for name in ("visual_train", "visual_test"):
        named[name] = np.abs(visual(numbers(name.split("_")[1]))).astype(np.uint8)
    scipy.io.savemat(path("cells.mat"), named)
    # As MATLAB 7.3 lays it out: HDF5 behind 512 bytes of text, columns first, the class an attribute.
    full = path("version73.mat")
    with h5py.File(full, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            values = values if values.ndim == 2 else values[:, None]
            dataset = file.create_dataset(name, data=np.ascontiguousarray(values.T), chunks=values.T.shape,
                                          compression="gzip")
            kind = {"float64": "double"}.get(values.dtype.name, values.dtype.name)
            set_class(dataset, kind)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Thu Jan  1 00:00:00 1970 HDF5 schema 1.00 ."
    with open(full, "r+b") as file:
        file.write(header.ljust(116) + b" " * 8 + b"\x00\x02IM")


if __name__ == "__main__":
    warnings.simplefilter("error")
    write_npz()
    write_safetensors()
    write_vegas()
    write_flags()
    write_ave()
    write_odd_hdf5()
    write_matlab()
