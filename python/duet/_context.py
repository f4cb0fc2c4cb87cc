"""Contexts: on which device, stream and number of threads calls run, and the lock and scratch memory of each."""
from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

import numpy as np

from . import _interface as c
from ._arrays import HOST, Borrowed, address_of
from ._library import check, library, make

__all__ = ["Context", "context_for", "default_context", "host_context"]

_PRECISIONS = {"tf32x3": c.DUET_PRECISION_TF32X3, "fp32": c.DUET_PRECISION_FP32, "tf32": c.DUET_PRECISION_TF32,
               "bf16": c.DUET_PRECISION_BF16}


def _parse_device(device: str) -> int:
    """HOST or the index of a CUDA device."""
    kind, _, index = device.partition(":")
    if kind == "cpu" and not index:
        return HOST
    if kind == "cuda" and (not index or index.isdecimal()):
        return int(index or 0)
    raise ValueError(f"device: expected 'cpu', 'cuda' or 'cuda:N', got {device!r}")


class Context:
    """Where calls run.

    One call at a time runs on a context; a second thread waits for the first. Threads that are to compute side by side
    take a context each.

    device: "cpu", "cuda" or "cuda:N".
    threads: CPU threads that a call may use; 0: what the affinity mask and the cgroup's quota allow.
    precision: of tile products on CUDA: "tf32x3" (as accurate as fp32), "fp32", "tf32" or "bf16".
    stream: CUDA: the address of a cudaStream_t to work on; 0: the default stream.
    """

    def __init__(self, device: str = "cpu", *, threads: int = 0, precision: str = "tf32x3", stream: int = 0) -> None:
        if precision not in _PRECISIONS:
            raise ValueError(f"precision: expected one of {', '.join(_PRECISIONS)}, got {precision!r}")
        self.device_index, self.stream = _parse_device(device), stream
        options = make(c.duet_context_options, threads=threads, precision=_PRECISIONS[precision], stream=stream or None)
        if self.device_index != HOST:
            options.device, options.device_index = c.DUET_DEVICE_CUDA, self.device_index
        handle = ctypes.c_void_p()
        check(library.duet_context_create(ctypes.byref(options), ctypes.byref(handle)))
        self.handle: int | None = handle.value
        self.lock = threading.Lock()
        self.plans: dict[Any, Any] = {}  # of _operation.py; written under the lock
        self.workspace = c.duet_workspace()  # scratch memory of the calls; used under the lock
        self._workspace_owner: Any = None
        self._scalars: dict[str, Borrowed] = {}
        self.released: list[int] = []  # device memory whose owner is gone; given back under the lock

    @property
    def device(self) -> str:
        return "cpu" if self.device_index == HOST else f"cuda:{self.device_index}"

    @property
    def threads(self) -> int:
        """CPU threads that a call may use."""
        return int(library.duet_context_threads(self._alive()))

    def synchronize(self) -> None:
        """Returns when all that was put on the context's stream is done; on the CPU at once."""
        with self.lock:
            check(library.duet_context_synchronize(self._alive()))

    def close(self) -> None:
        """Gives threads and memory back. A closed context runs nothing any more."""
        with self.lock:
            if self.handle is not None:
                self._release_workspace()
                self.plans.clear()
                self._scalars.clear()
                self.give_back()
                library.duet_context_destroy(self.handle)
                self.handle = None

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "handle", None) is not None and library is not None:
            self.close()

    def __repr__(self) -> str:
        return f"<duet.Context {self.device}{', closed' if self.handle is None else ''}>"

    def _alive(self) -> int:
        if self.handle is None:
            raise ValueError("context: it is closed")
        return self.handle

    def give_back(self) -> None:
        """Releases the memory of arrays that are gone. Under the lock."""
        while self.released:
            library.duet_memory_release(self.handle, self.released.pop())

    def follow(self, stream: int) -> None:
        """What is put on this context's stream from now on waits for what was put on another of the device before."""
        if self.device_index == HOST or stream == self.stream:
            return
        before = context_for(self.device_index, stream)
        event = ctypes.c_void_p()
        with before.lock:
            check(library.duet_event_create(before._alive(), ctypes.byref(event)))
            status = library.duet_event_record(before._alive(), event)
        try:
            check(status)
            with self.lock:
                check(library.duet_event_await(self._alive(), event))
        finally:
            library.duet_event_destroy(event)

    def reserve(self, size: int) -> None:
        """Makes the workspace hold at least size bytes. Under the lock."""
        if size <= self.workspace.bytes:
            return
        self._release_workspace()
        if self.device_index == HOST:
            memory = np.empty(size + 64, dtype=np.uint8)
            start = address_of(memory)
            self._workspace_owner, self.workspace.data = memory, start + -start % 64
        else:
            address = ctypes.c_void_p()
            check(library.duet_memory_allocate(self._alive(), size, ctypes.byref(address)))
            self.workspace.data = address.value
        self.workspace.bytes = size

    def _release_workspace(self) -> None:
        if self.device_index != HOST and self.workspace.data:
            library.duet_memory_release(self.handle, self.workspace.data)
        self.workspace.data, self.workspace.bytes, self._workspace_owner = None, 0, None

    def borrowed_copy(self, host: np.ndarray[Any, Any]) -> tuple[int, Any]:
        """The address of an array's elements in the context's memory, and what keeps them there."""
        if self.device_index == HOST:
            return address_of(host), host
        from ._device_array import DeviceArray

        owner = DeviceArray.of(host, self)
        return owner.address, owner

    def scalar(self, value: float | int) -> Borrowed:
        """A vector of one number in the context's memory: float32, of an int int64."""
        whole = type(value) is int
        key = repr(value)
        found = self._scalars.get(key)
        if found is None:
            if len(self._scalars) >= 64:
                self._scalars.clear()
            address, owner = self.borrowed_copy(np.array([value], dtype=np.int64 if whole else np.float32))
            layout = (1, 0, 0, c.DUET_DTYPE_I64 if whole else c.DUET_DTYPE_F32)
            found = self._scalars[key] = Borrowed(address, layout, self.device_index, 0, owner)
        return found


_defaults: dict[tuple[int, int], Context] = {}
_defaults_lock = threading.Lock()
_HOST_KEY = (HOST, 0)


def context_for(device_index: int, stream: int = 0) -> Context:
    """The context that calls use where none is given: one a device and stream."""
    found = _defaults.get((device_index, stream))
    if found is None or found.handle is None:
        with _defaults_lock:
            found = _defaults.get((device_index, stream))
            if found is None or found.handle is None:
                device = "cpu" if device_index == HOST else f"cuda:{device_index}"
                found = _defaults[device_index, stream] = Context(device, stream=stream)
    return found


def host_context() -> Context | None:
    """The CPU's, where it has been made."""
    return _defaults.get(_HOST_KEY)


def default_context(device: str = "cpu") -> Context:
    """The context that calls on this device use where none is given."""
    return context_for(_parse_device(device))


def _forget_after_fork() -> None:
    # A child has none of the parent's threads: it makes contexts of its own.
    global _defaults_lock
    _defaults_lock = threading.Lock()
    for context in _defaults.values():
        context.handle = None
    _defaults.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
