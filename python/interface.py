"""Writes duet/_interface.py, the C interface of duet as ctypes declarations, from the installed headers.

usage: interface.py HEADERS VERSION OUTPUT      (HEADERS: the folder that holds duet.h; VERSION: of the library)

The headers are the only place where a struct, an enumerator or a call is declared. What this reads of C is what they
are written in: typedef of enum and of struct, DUET_SET() of a default, DUET_API before a call.
"""
import re
import sys
from pathlib import Path

SCALARS = {
    "size_t": "c_size_t", "int32_t": "c_int32", "int64_t": "c_int64", "uint32_t": "c_uint32", "uint64_t": "c_uint64",
    "int": "c_int", "float": "c_float", "double": "c_double", "duet_status": "c_int",
}


def fail(message):
    sys.exit(f"interface.py: {message}")


def without_comments(text):
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    return re.sub(r"\\\n", " ", text)


def for_c(text):
    """What a C compiler sees where __cplusplus is not defined."""
    out, keeps = [], [True]
    for line in text.splitlines():
        word = line.strip().split(maxsplit=1)
        if word and word[0] in ("#if", "#ifdef", "#ifndef"):
            keeps.append(keeps[-1] and "__cplusplus" not in line)
        elif word and word[0] == "#else":
            keeps[-1] = keeps[-2] and not keeps[-1]
        elif word and word[0] == "#endif":
            keeps.pop()
        elif keeps[-1]:
            out.append(line)
    return "\n".join(out)


def headers(folder):
    """The headers in the order in which duet.h draws them in, each once, what a header includes before it."""
    seen = {}

    def read(path):
        path = path.resolve()
        if path in seen or not path.is_relative_to(folder.resolve()):
            return
        seen[path] = ""
        text = path.read_text()
        for name in re.findall(r'^#include "([^"]+)"', text, flags=re.MULTILINE):
            read(path.parent / name)
        del seen[path]
        seen[path] = without_comments(for_c(text))

    read(folder / "duet.h")
    return "\n".join(seen.values())


class Interface:
    def __init__(self, text):
        self.enums, self.constants, self.structs, self.calls, self.defaults = {}, {}, {}, [], {}
        self.pointers = {}  # of a struct: the fields that point to a struct
        for body, name in re.findall(r"typedef enum \w+ \{(.*?)\} (\w+);", text, flags=re.DOTALL):
            self.enums[name] = self.enumerators(body)
        for body in re.findall(r"^enum \{(.*?)\};", text, flags=re.DOTALL | re.MULTILINE):
            self.constants.update(self.enumerators(body))
        for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\n\} \w+;", text, flags=re.DOTALL):
            self.structs[name] = self.fields(name, body)
        for name, sets in re.findall(r"#define DUET_\w+_INIT\s+DUET_INIT\((\w+),(.*)\)", text):
            self.defaults[name] = dict(re.findall(r"DUET_SET\((\w+), ((?:[^()]|\(\w+\))+)\)", sets))
        for result, name, arguments in re.findall(r"^DUET_API ([^(]*?[ *])(\w+)\((.*?)\);", text,
                                                  flags=re.DOTALL | re.MULTILINE):
            arguments = [] if arguments.strip() == "void" else arguments.split(",")
            self.calls.append((name, self.argument(result.strip() + " result"),
                               [self.argument(each) for each in arguments]))

    @staticmethod
    def enumerators(body):
        return {name: int(value) for name, value in re.findall(r"(\w+)\s*=\s*(-?\d+)", body)}

    def fields(self, struct, body):
        out = []
        for line in body.split(";"):
            line = " ".join(line.split())
            if not line:
                continue
            match = re.fullmatch(r"(const )?(?:struct )?(\w+)(\*| \*)? ?(.+)", line)
            if not match:
                fail(f"{struct}: cannot read the field '{line}'")
            kind = self.kind(match[2], pointer=bool(match[3]))
            if match[3] and match[2] in self.structs:
                self.pointers.setdefault(struct, {})[match[4]] = match[2]
            for name in match[4].split(","):
                array = re.fullmatch(r"(\w+)\[(\w+)\]", name.strip())
                if array:
                    size = self.constants.get(array[2], array[2])
                    out.append((array[1], f"{kind} * {size}"))
                else:
                    out.append((name.strip(), kind))
        return out

    def kind(self, name, pointer):
        if pointer:
            return "c_char_p" if name == "char" else "c_void_p"
        if name in SCALARS:
            return SCALARS[name]
        if name == "char":
            return "c_char"
        if name in self.enums:
            return "c_int"
        if name in self.structs:
            return name
        fail(f"unknown type '{name}'")

    def argument(self, declaration):
        declaration = " ".join(declaration.split())
        match = re.fullmatch(r"(const )?(\w+)( ?\*+ ?| )(\w+)", declaration)
        if not match:
            fail(f"cannot read the argument '{declaration}'")
        if match[2] == "void" and "*" not in match[3]:
            return "None", None
        return self.kind(match[2], pointer="*" in match[3]), match[2] if match[2] in self.structs else None


def python_value(text):
    """Of a default: a number, the size of a struct or an enumerator."""
    if re.fullmatch(r"-?\d+", text) or re.fullmatch(r"DUET_\w+", text):
        return text
    size = re.fullmatch(r"sizeof\((\w+)\)", text)
    return f"sizeof({size[1]})" if size else repr(float(text.rstrip("f")))


def write(interface, version):
    yield '"""The C interface of duet, written by interface.py from its headers."""'
    yield "from __future__ import annotations"
    yield ""
    yield "from ctypes import (CDLL, Structure, c_char, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t,"
    yield "                    c_uint32, c_uint64, c_void_p, sizeof)"
    yield "from typing import Any"
    yield ""
    yield f'VERSION = "{version}"'
    for values in (interface.constants, *interface.enums.values()):
        for name, value in values.items():
            yield f"{name} = {value}"
    yield ""
    for name, fields in interface.structs.items():
        yield ""
        yield f"class {name}(Structure):"
        yield "    _fields_ = ["
        for field, kind in fields:
            yield f'        ("{field}", {kind}),'
        yield "    ]"
        yield ""
    yield ""
    yield "# What a struct's fields begin with, where that is not 0."
    yield "DEFAULTS: dict[type[Structure], dict[str, Any]] = {"
    for name, sets in interface.defaults.items():
        if sets:
            items = ", ".join(f'"{field}": {python_value(value)}' for field, value in sets.items())
            yield f"    {name}: {{{items}}},"
    yield "}"
    yield "# Fields that point to a struct."
    yield "POINTERS: dict[type[Structure], dict[str, type[Structure]]] = {"
    for name, fields in interface.pointers.items():
        items = ", ".join(f'"{field}": {kind}' for field, kind in fields.items())
        yield f"    {name}: {{{items}}},"
    yield "}"
    yield "# The structs that a call takes, by the place of the argument."
    yield "ARGUMENTS: dict[str, tuple[type[Structure] | None, ...]] = {"
    for name, _, arguments in interface.calls:
        structs = "".join(f"{struct}, " for _, struct in arguments)
        yield f'    "{name}": ({structs.strip()}),'
    yield "}"
    yield ""
    yield ""
    yield "def declare(library: CDLL) -> None:"
    yield '    """Tells ctypes the types of every call."""'
    for name, result, arguments in interface.calls:
        yield f"    library.{name}.restype = {result[0]}"
        yield f"    library.{name}.argtypes = [{', '.join(kind for kind, _ in arguments)}]"


def main(arguments):
    if len(arguments) != 3:
        sys.exit(__doc__)
    folder, version, output = Path(arguments[0]), arguments[1], Path(arguments[2])
    interface = Interface(headers(folder))
    if not interface.calls or not interface.structs:
        fail(f"{folder}: no calls or no structs found")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n".join(write(interface, version)) + "\n")


main(sys.argv[1:])
