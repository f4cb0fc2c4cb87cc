"""Finds and loads libduet, and turns its statuses into exceptions."""
from __future__ import annotations

import ctypes
import os
from typing import Any

from . import _interface as c

__all__ = ["DuetError", "OutOfMemory", "Unsupported", "check", "library", "library_path", "make"]


class DuetError(RuntimeError):
    """A call of the library has failed: CUDA, a file, or an error inside."""


class Unsupported(DuetError):
    """Valid, but not on this device or in this build."""


class OutOfMemory(DuetError, MemoryError):
    """The memory that a call needs is not to be had; the text says how much it asked for."""


# What a status is raised as. An argument that is refused is a ValueError, as it is everywhere in Python.
_EXCEPTIONS: dict[int, type[Exception]] = {
    c.DUET_STATUS_INVALID_ARGUMENT: ValueError,
    c.DUET_STATUS_UNSUPPORTED: Unsupported,
    c.DUET_STATUS_OUT_OF_MEMORY: OutOfMemory,
}


def library_path() -> str:
    """The shared library: what the variable DUET_LIBRARY names, else the one that lies in the package."""
    return os.environ.get("DUET_LIBRARY") or os.path.join(os.path.dirname(__file__), "lib", "libduet.so")


def _load() -> ctypes.CDLL:
    path = library_path()
    try:
        loaded = ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(f"{path}: {error}; expected duet's shared library (DUET_LIBRARY names another)") from None
    loaded.duet_version.restype = ctypes.c_char_p
    version = loaded.duet_version().decode()
    if version != c.VERSION:
        raise ImportError(f"{path}: version {version}; expected {c.VERSION}, as the Python package")
    c.declare(loaded)
    return loaded


library = _load()


def check(status: int) -> None:
    """Raises what status stands for, with the library's text."""
    if status != c.DUET_STATUS_OK:
        raise _EXCEPTIONS.get(status, DuetError)(library.duet_last_error().decode(errors="replace"))


def make(struct: type[ctypes.Structure], **fields: Any) -> Any:
    """A struct of the interface with its size, its defaults and these fields."""
    out = struct()
    if hasattr(out, "struct_size"):
        out.struct_size = ctypes.sizeof(struct)
    for name, value in {**c.DEFAULTS.get(struct, {}), **fields}.items():
        setattr(out, name, value)
    return out
