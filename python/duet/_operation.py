"""A call of the library: its structs are made once for each combination of shapes and options and kept (a plan); a call
then sets the addresses alone. That is what keeps a call's overhead at some microseconds."""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Union

import numpy as np

from . import _interface as c
from ._arrays import DATA_OFFSET, HOST, ITEM_BYTES, Borrowed
from ._context import Context, host_context
from ._library import check, library, make
from ._results import new

__all__ = ["Operation", "Output", "as_read", "keep"]

_MOST_PLANS = 512  # of a context; then they are made anew
_ndarray, _word = np.ndarray, ctypes.c_size_t.from_address
_PLAIN = frozenset((bool, int, float, str, type(None)))  # options whose value a plan may stand for


class Output(NamedTuple):
    """An array that a call writes."""

    shape: tuple[int, ...]
    dtype: Any = np.float32
    zero: bool = False  # a gradient, to which the call adds


# What a field that is read is given: an array, nothing, or a number, which goes in as a vector of one element (float32,
# of an int int64).
Input = Union[Borrowed, None, float, int]


class _Plan:
    """The structs of one call. cells: where the addresses of its arrays go, in the order of the operation's fields.
    Of a call on NumPy's arrays also which of its fields are arrays, which are numbers, and what it writes."""

    __slots__ = ("arguments", "arrays", "cells", "numbers", "outputs", "structs", "workspace_bytes")

    def __init__(self) -> None:
        self.structs: list[Any] = []
        self.cells: list[ctypes.c_void_p | None] = []
        self.arguments: list[Any] = []
        self.workspace_bytes = 0
        self.arrays: list[tuple[int, ctypes.c_void_p, int]] = []  # with the bits that no address of the type has
        self.numbers: list[tuple[int, Any]] = []
        self.outputs: list[tuple[ctypes.c_void_p, Callable[..., Any], tuple[int, ...], Any] | None] = []


def _field_type(struct: type[ctypes.Structure], field: str) -> Any:
    for each in struct._fields_:
        if each[0] == field:
            return each[1]
    raise AttributeError(f"{struct.__name__} has no field {field}")


class Operation:
    """One call of the C interface: name without "duet_".

    fields: for each struct that it takes, in order, the names of its views, those that are read before those that are
    written; "rows.positive_index" is a view of the struct that the field rows points to. sized: the call that tells
    how large its workspace is, where it has one; it takes the first struct.
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

    def again(self, context: Context | None, given: Sequence[Any], options: tuple[Any, ...] = (),
              plan: _Plan | None = None) -> list[Any] | None:
        """What the call writes, by the plan of a call that run() made before of such arrays; None where there is none,
        or an array lies where its type cannot be read.

        given: of the fields that are read. options: the caller's arguments that tell plans apart. plan: one to keep.
        """
        facts: list[Any] = [self, options]
        put = facts.append
        for each in given:
            kind = type(each)
            if kind is _ndarray:
                put(each.shape)
                put(each.strides)
                put(each.dtype)
            elif each is None or kind is float or kind is int:
                put(kind)
            else:
                return None
        if context is None:
            context = host_context()
            if context is None:
                return None
        elif not isinstance(context, Context):
            raise TypeError(f"context: expected a duet.Context, got {context!r}")
        key = tuple(facts)
        new_plan = plan is not None
        if plan is None:
            try:
                plan = context.plans.get(key)
            except TypeError:  # an option that is no number and no word: run() says which
                return None
            if plan is None:
                return None
        made: list[Any] = []
        with context.lock:
            if context.handle is None:
                raise ValueError("context: it is closed")
            if new_plan:
                keep(context, key, plan, options)
            for place, cell, odd in plan.arrays:
                address = _word(id(given[place]) + DATA_OFFSET).value
                if address & odd:
                    return None
                cell.value = address
            for place, number in plan.numbers:
                value = given[place]
                number.value = value
                if type(value) is int and number.value != value:
                    raise _too_large(self._names[place], value)
            for output in plan.outputs:
                if output is None:
                    made.append(None)
                else:
                    cell, create, shape, dtype = output
                    array = create(shape, dtype)
                    cell.value = _word(id(array) + DATA_OFFSET).value
                    made.append(array)
            self.launch(context, context.handle, plan)
        return made

    def launch(self, context: Context, handle: int, plan: _Plan) -> None:
        """The call of a plan whose addresses are set. Under the lock."""
        if self._size is None:
            status = self._call(handle, *plan.arguments)
        else:
            if plan.workspace_bytes > context.workspace.bytes:
                context.reserve(plan.workspace_bytes)
            status = self._call(handle, *plan.arguments, context.workspace)
        if status:
            check(status)

    def run(self, context: Context, options: tuple[Any, ...], inputs: Sequence[Input],
            fields: tuple[tuple[str, Any], ...], *outputs: Output | None) -> list[Any]:
        """What the call writes, None of an output that is None.

        options: as again() has them. fields: the scalar fields of the first struct that they stand for.
        """
        given = as_read(inputs)
        if context.device_index == HOST and DATA_OFFSET and not any(type(each) is Borrowed for each in given):
            with context.lock:
                plan = self.host_plan(context._alive(), inputs, fields, outputs)
            made = self.again(context, given, options, plan)
            assert made is not None
            return made
        arrays = [context.scalar(each) if isinstance(each, (float, int)) else each for each in inputs]
        pairs = [(None, None) if each is None else new(context, each.shape, each.dtype, zero=each.zero)
                 for each in outputs]
        self(context, [*arrays, *[view for _, view in pairs]], fields)
        return [array for array, _ in pairs]

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
            try:
                plan = context.plans.get(key)
            except TypeError:  # as in again()
                plan = None
            if plan is None:
                plan = self._plan(handle, arrays, options)
                keep(context, key, plan, [value for _, value in options])
            for cell, array in zip(plan.cells, arrays):
                if array is not None:
                    cell.value = array[0]
            self.launch(context, handle, plan)

    def host_plan(self, handle: int, inputs: Sequence[Input], fields: tuple[tuple[str, Any], ...],
                   outputs: Sequence[Output | None]) -> _Plan:
        arrays: list[Borrowed | None] = []
        numbers: list[tuple[int, Any]] = []
        for place, each in enumerate(inputs):
            if isinstance(each, (float, int)):
                number = ctypes.c_int64() if type(each) is int else ctypes.c_float()
                code = c.DUET_DTYPE_I64 if type(each) is int else c.DUET_DTYPE_F32
                numbers.append((place, number))
                arrays.append(Borrowed(ctypes.addressof(number), (1, 0, 0, code)))
            else:
                arrays.append(each)
        arrays += [None if each is None else Borrowed(0, _layout(each)) for each in outputs]
        plan = self._plan(handle, arrays, fields)
        of_numbers = {place for place, _ in numbers}
        plan.numbers = numbers
        for place, each in enumerate(arrays[:len(inputs)]):
            cell = plan.cells[place]
            if each is not None and cell is not None:
                cell.value = each.address
                if place not in of_numbers:
                    plan.arrays.append((place, cell, ITEM_BYTES[each.dtype] - 1))
        for place, output in enumerate(outputs):
            cell = plan.cells[len(inputs) + place]
            plan.outputs.append(None if output is None or cell is None else (
                cell, np.zeros if output.zero else np.empty, output.shape, np.dtype(output.dtype)))
        return plan

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
            _set_number(_struct_of(plan, plan.structs[0], parent), field, value)
        if self._size is not None:
            size = ctypes.c_size_t()
            check(self._size(handle, plan.arguments[0], ctypes.byref(size)))
            plan.workspace_bytes = size.value
        return plan


def as_read(inputs: Sequence[Input]) -> list[Any]:
    """NumPy's arrays where the borrowed memory is theirs, as it is or as a copy that a call can read."""
    return [each.owner if type(each) is Borrowed and type(each.owner) is _ndarray else each for each in inputs]


def _layout(output: Output) -> tuple[int, int, int, int]:
    code = {np.float32: c.DUET_DTYPE_F32, np.int32: c.DUET_DTYPE_I32, np.int64: c.DUET_DTYPE_I64}[output.dtype]
    shape = output.shape
    return (shape[0], shape[1], shape[1], code) if len(shape) == 2 else (shape[0], 0, 0, code)


def keep(context: Context, key: tuple[Any, ...], plan: _Plan, options: Sequence[Any]) -> None:
    """Under the lock. Not where an option may change and stay the same object, as an array of one number does."""
    if any(type(each) not in _PLAIN for each in options):
        return
    if len(context.plans) >= _MOST_PLANS:
        context.plans.clear()
    context.plans[key] = plan


def _set_number(struct: Any, field: str, value: Any) -> None:
    try:
        setattr(struct, field, bool(value) if isinstance(value, np.bool_) else value)
        held = getattr(struct, field)
    except (TypeError, ValueError, ctypes.ArgumentError):
        kind = "a number" if isinstance(getattr(struct, field), float) else "a whole number"
        raise TypeError(f"{field}: expected {kind}, got {value!r}") from None
    if isinstance(held, int) and held != value:
        raise _too_large(field, value)


def _too_large(name: str, value: Any) -> ValueError:
    return ValueError(f"{name.rpartition('.')[2]}: expected a whole number that fits its C type, got {value}")


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
