"""What calls share: the context that they run on, and new arrays for what they write."""
from __future__ import annotations

import operator
from typing import Any, TypeVar

import numpy as np

from . import _interface as c
from ._arrays import HOST, Borrowed, address_of
from ._context import Context, context_for

__all__ = ["Result", "choose", "host", "new", "of_choices", "real", "whole"]

# What is returned: NumPy arrays where the inputs lie in the host's memory, DeviceArrays where they lie on a device.
Result = Any

_CODES = {np.float32: c.DUET_DTYPE_F32, np.int32: c.DUET_DTYPE_I32, np.int64: c.DUET_DTYPE_I64}


def choose(context: Context | None, first: Borrowed, *others: Borrowed | None) -> Context:
    """The context given, else the one of the device on which the inputs lie. All lie on one."""
    device = first.device
    for each in others:
        if each is not None and each.device != device:
            raise ValueError("inputs: expected arrays on one device")
    if context is None:
        context = context_for(device, first.stream)
    elif not isinstance(context, Context):
        raise TypeError(f"context: expected a duet.Context, got {context!r}")
    elif context.device_index != device:
        raise ValueError(f"inputs: expected arrays on {context.device}, the context's device")
    if device != HOST:
        for each in (first, *others):
            if each is not None:
                context.follow(each.stream)
    return context


def new(context: Context, shape: tuple[int, ...], dtype: Any = np.float32, *,
        zero: bool = False) -> tuple[Result, Borrowed]:
    """An array that a call writes, and as that call takes it."""
    if context.device_index == HOST:
        array: Any = np.zeros(shape, dtype) if zero else np.empty(shape, dtype)
        address, code = address_of(array), _CODES[dtype]
    else:
        from ._device_array import DeviceArray

        array = DeviceArray(shape, dtype, context, zero=zero)
        address, code = array.address, array.code
    layout = (shape[0], shape[1], shape[1], code) if len(shape) == 2 else (shape[0], 0, 0, code)
    return array, Borrowed(address, layout, context.device_index, 0, array)


def host(array: Any) -> np.ndarray[Any, Any]:
    """A result as a NumPy array."""
    out: np.ndarray[Any, Any] = array if isinstance(array, np.ndarray) else array.numpy()
    return out


def real(value: Any, name: str) -> float:
    """A number; a TypeError that names the argument where it is none."""
    if type(value) is float:
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {value!r}") from None


def whole(value: Any, name: str, least: int = 0) -> int:
    """A whole number of at least `least` and below 2^63; an error that names the argument where it is none."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, got {value!r}") from None
    if not least <= number < 2**63:
        raise ValueError(f"{name}: expected a whole number of {least} or more, got {value}")
    return number


Choice = TypeVar("Choice")


def of_choices(choices: dict[str, Choice], word: str, name: str) -> Choice:
    """What a word stands for; a ValueError that names the argument and the words that are known."""
    try:
        return choices[word]
    except (KeyError, TypeError):
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {word!r}") from None
