"""Labels of two sides as calls take them: a number a row; or rows of 0 and 1, where a row may have several classes
(METHOD.md 2 and 6.12)."""
from __future__ import annotations

from typing import Any

import numpy as np

from . import _interface as c
from ._arrays import HOST, Borrowed, narrowed, view_of
from ._context import Context, context_for

__all__ = ["borrow_sets", "label_array", "label_sides", "numbered", "placed", "several"]

_ndarray, _INT32 = np.ndarray, np.dtype(np.int32)


def label_sides(x: Any, y: Any, name_x: str, name_y: str) -> tuple[Any, Any, np.ndarray[Any, Any] | None]:
    """Of x and y whole numbers, and the words of the label sets that they number: None where a label is a class.

    Where x is n x C and y is m x C, of 0 and 1, a number is that of a row's set, -1 that of a row without a class.
    """
    if type(x) is _ndarray and type(y) is _ndarray and x.dtype is y.dtype is _INT32 and x.ndim == y.ndim == 1:
        return x, y, None
    if x is None or y is None:
        return x, y, None
    x, y = _looked_at(x, name_x), _looked_at(y, name_y)
    if getattr(x, "ndim", 1) != 2 and getattr(y, "ndim", 1) != 2:
        of_x = _whole(x, name_x)
        return of_x, of_x if y is x else _whole(y, name_y), None
    of_x, of_y = label_array(x, name_x), label_array(y, name_y)
    if of_x.ndim == of_y.ndim == 1:  # columns of numbers
        return narrowed(of_x, name_x), narrowed(of_y, name_y), None
    (of_x, of_y), sets = several(of_x, of_y, name_x, name_y)
    return of_x, of_y, packed(sets)


def _looked_at(value: Any, name: str) -> Any:
    known = hasattr(value, "ndim") or hasattr(value, "__dlpack__") or hasattr(value, "__cuda_array_interface__")
    return value if known else label_array(value, name)


def _whole(value: Any, name: str) -> Any:
    """int32 where it is NumPy's; of other libraries' as it came."""
    if type(value) is _ndarray and value.ndim == 1 and value.dtype is not _INT32:
        return narrowed(value, name)
    return value


def label_array(value: Any, name: str) -> np.ndarray[Any, Any]:
    """Of the host: a label a row, or a row of 0 and 1 a row."""
    try:
        labels = value.numpy() if hasattr(value, "__cuda_array_interface__") and hasattr(value, "numpy") else (
            np.asarray(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}: expected an array of the host ({error})") from None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2):
        raise ValueError(f"{name}: expected a label a row, or a row of 0 and 1 a row, got {labels.ndim} dimensions")
    out: np.ndarray[Any, Any] = labels
    return out


def several(a: np.ndarray[Any, Any], v: np.ndarray[Any, Any], name_a: str,
            name_v: str) -> tuple[list[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """Rows of 0 and 1 as the numbers of their distinct sets, -1 of a row without a class, and the sets."""
    if a.ndim != v.ndim:
        raise ValueError(f"{name_v}: expected rows of several labels on both sides, or on neither")
    if a.shape[1] != v.shape[1]:
        raise ValueError(f"{name_v}: expected rows of {a.shape[1:]} classes, as in {name_a}, got {v.shape[1:]}")
    for each, name in ((a, name_a), (v, name_v)):
        if not np.isin(each, (0, 1)).all():
            raise ValueError(f"{name}: expected 0 and 1 in rows of several labels")
    both = np.concatenate([a, v]).astype(bool)
    sets, numbers = np.unique(both, axis=0, return_inverse=True)
    numbers = np.where(both.any(axis=1), numbers.reshape(-1), -1).astype(np.int32)
    return [numbers[: len(a)], numbers[len(a):]], sets


def numbered(a: np.ndarray[Any, Any], v: np.ndarray[Any, Any], name: str) -> list[np.ndarray[Any, Any]]:
    """Labels of any kind as whole numbers; -1, and "" of names, is unlabelled."""
    if (a.dtype.kind in "US") != (v.dtype.kind in "US"):
        raise TypeError(f"{name}: expected labels of one kind, got {a.dtype} and {v.dtype}")
    if a.dtype.kind not in "USiub":
        raise TypeError(f"{name}: expected whole numbers or names, got {a.dtype}")
    both = np.concatenate([a, v])
    none = both == "" if both.dtype.kind == "U" else both == b"" if both.dtype.kind == "S" else both == -1
    numbers = np.unique(both, return_inverse=True)[1].reshape(-1).astype(np.int32)
    numbers[none] = -1
    return [numbers[: len(a)], numbers[len(a):]]


def packed(sets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Classes as bits: class c of a label is bit c % 32 of its word c / 32."""
    if sets.ndim != 2 or not np.isin(sets, (0, 1)).all():
        raise ValueError("label_sets: expected labels x classes of 0 and 1")
    octets = np.packbits(sets.astype(bool), axis=1, bitorder="little")
    words = np.ascontiguousarray(np.pad(octets, ((0, 0), (0, -octets.shape[1] % 4)))).view(np.int32)
    out: np.ndarray[Any, Any] = words
    return out


def borrow_sets(words: Any) -> Borrowed:
    """packed() words, of the host or a device."""
    if isinstance(words, np.ndarray):
        return view_of(words)
    rows, columns = words.shape
    return Borrowed(words.address, (rows, columns, columns, c.DUET_DTYPE_I32), words.device_index, 0, words)


def placed(context: Context | None, like: Borrowed, *arrays: Any) -> tuple[Any, ...]:
    """Arrays of the host on the device where a call's inputs lie."""
    if like.device == HOST:
        return arrays
    from ._device_array import DeviceArray

    there = context or context_for(like.device, like.stream)
    return tuple(DeviceArray.of(each, there) if isinstance(each, np.ndarray) else each for each in arrays)
