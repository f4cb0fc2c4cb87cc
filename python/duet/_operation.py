"""A call of the library: its structs are made once for each combination of shapes and options and kept (a plan); a call
then sets the addresses alone. That is what keeps a call's overhead at some microseconds."""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from . import _interface as c
from ._arrays import Borrowed
from ._context import Context
from ._library import check, library, make

__all__ = ["Operation"]

_MOST_PLANS = 512  # of a context; then they are made anew


class _Plan:
    """The structs of one call. cells: where the addresses of its arrays go, in the order of the operation's fields."""

    __slots__ = ("arguments", "cells", "structs", "workspace_bytes")

    def __init__(self) -> None:
        self.structs: list[Any] = []
        self.cells: list[ctypes.c_void_p | None] = []
        self.arguments: list[Any] = []
        self.workspace_bytes = 0


def _field_type(struct: type[ctypes.Structure], field: str) -> Any:
    for each in struct._fields_:
        if each[0] == field:
            return each[1]
    raise AttributeError(f"{struct.__name__} has no field {field}")


class Operation:
    """One call of the C interface: name without "duet_".

    fields: for each struct that it takes, in order, the names of its views; "rows.positive_index" is a view of the
    struct that the field rows points to. sized: the call that tells how large its workspace is, where it has one; it
    takes the first struct.
    """

    def __init__(self, name: str, *fields: Sequence[str], sized: str | None = None) -> None:
        self._call: Callable[..., int] = getattr(library, "duet_" + name)
        self._size: Callable[..., int] | None = getattr(library, "duet_" + sized) if sized else None
        structs = [each for each in c.ARGUMENTS["duet_" + name] if each not in (None, c.duet_workspace)]
        self._structs: list[type[ctypes.Structure]] = structs
        self._fields = [list(each) for each in fields]
        self._names = [name for each in self._fields for name in each]
        if len(self._structs) != len(self._fields):
            raise TypeError(f"{name}: takes {len(self._structs)} structs, got fields of {len(self._fields)}")

    def __call__(self, context: Context, arrays: Sequence[Borrowed | None],
                 options: tuple[tuple[str, Any], ...] = ()) -> None:
        """arrays: of all fields one after another, None for a null view. options: scalar fields of the first struct."""
        key = (self, options, tuple([each and each[1] for each in arrays]))
        device = context.device_index
        for place, array in enumerate(arrays):
            if array is not None and array[2] != device:
                raise ValueError(f"{self._names[place]}: expected an array on {context.device}, as the others")
        with context.lock:
            handle = context._alive()
            plan = context.plans.get(key)
            if plan is None:
                plan = self._plan(handle, arrays, options)
                if len(context.plans) >= _MOST_PLANS:
                    context.plans.clear()
                context.plans[key] = plan
            for cell, array in zip(plan.cells, arrays):
                if array is not None:
                    cell.value = array[0]
            if self._size is None:
                status = self._call(handle, *plan.arguments)
            else:
                context.reserve(plan.workspace_bytes)
                status = self._call(handle, *plan.arguments, context.workspace)
            if status:
                check(status)

    def _plan(self, handle: int, arrays: Sequence[Borrowed | None], options: tuple[tuple[str, Any], ...]) -> _Plan:
        plan = _Plan()
        left = iter(arrays)
        for struct, names in zip(self._structs, self._fields):
            made = make(struct)
            plan.structs.append(made)
            for name in names:
                plan.cells.append(_set_view(plan, made, name, next(left)))
            plan.arguments.append(ctypes.byref(made))
        for name, value in options:
            parent, _, field = name.rpartition(".")
            setattr(_struct_of(plan, plan.structs[0], parent), field, value)
        if self._size is not None:
            size = ctypes.c_size_t()
            check(self._size(handle, plan.arguments[0], ctypes.byref(size)))
            plan.workspace_bytes = size.value
        return plan


def _struct_of(plan: _Plan, struct: Any, parent: str) -> Any:
    """The struct that the field parent points to, made where it is not there yet; without a parent struct itself."""
    if not parent:
        return struct
    for held in plan.structs:
        if getattr(held, "of_field", None) == (id(struct), parent):
            return held
    held = make(c.POINTERS[type(struct)][parent])
    held.of_field = (id(struct), parent)
    plan.structs.append(held)
    setattr(struct, parent, ctypes.addressof(held))
    return held


def _set_view(plan: _Plan, struct: Any, name: str, array: Borrowed | None) -> ctypes.c_void_p | None:
    """Sets a view's shape; returns where its address goes."""
    if array is None:
        return None
    parent, _, field = name.rpartition(".")
    struct = _struct_of(plan, struct, parent)
    view = getattr(struct, field)
    rows, columns, stride, view.dtype = array.layout
    if hasattr(view, "rows"):
        view.rows, view.columns, view.row_stride = rows, columns, stride
    else:
        view.size = rows
    return ctypes.c_void_p.from_buffer(struct, getattr(type(struct), field).offset)
