"""Writes a public header with its comments in the form that Doxygen reads; docs/Doxyfile calls it for every header.

usage: c_comments.py HEADER

The headers hold plain comments. What this makes of them:
- The first comment of a file is of the file (of duet.h: the first page), and so is one that no declaration follows. A
  line that had room for the next line's first word ends a paragraph.
- A comment behind a declaration is of it, one above a declaration likewise.
- "name: text" at the start of a line above a call says what an argument is.
- duet.h states what inputs, outputs, gradients, forward and backward are in every operation. That is said of those that
  have no comment of their own, and of the arguments that go by these names.
Anything else without a comment is left so, and Doxygen refuses it. Lines keep their numbers.
"""
import re
import sys

WIDTH = 120  # of a line
NEW_LINE = " \\ilinebr "
CALL = re.compile(r"(?:DUET_API|static inline) ((?:const )?\w+ ?\*?) ?(\w+)\(([^)]*)\)")
MACRO = r"#define (\w+)\(([^)]*)\)"
DECLARED = re.compile(r"typedef struct (\w+) \{|#define (DUET_\w+_INIT)\b|" + CALL.pattern + "|" + MACRO)
# An argument of this name, where the call's comment does not speak of it.
ARGUMENTS = {
    "context": "where the call runs", "inputs": "what is read", "outputs": "where the results go",
    "gradients": "what a backward pass reads, and adds to", "workspace": "scratch memory of the size that is asked for",
}
ARGUMENTS_OF_VIEWS = {
    "data": "the first element; the memory stays the caller's", "rows": "0 or more", "columns": "0 or more",
    "size": "elements, 0 or more",
}
STATUS = "DUET_STATUS_OK, else why not, and duet_last_error() says more"


def escaped(text):
    text = re.sub(r"([\\@<>&#%])", r"\\\1", text)
    return text.replace("METHOD.md", '<a href="../docs/METHOD.html">METHOD.md</a>')


def paragraphs(text):
    """The text with paragraphs where a line ends before it has to; the first line begins behind the comment's mark."""
    lines = text.split("\n")
    out = escaped(lines[0])
    for before, line in zip(lines, lines[1:]):
        first = line.split(maxsplit=1)[0] if line.strip() else ""
        ends = not first or len(before) + 1 + len(first) <= WIDTH - 3
        out += ("<p>" if ends else "") + "\n" + escaped(line)
    return out


def of_call(text, result, arguments, known):
    """The comment of a call: its text, its arguments, of which some are known by their names, what it returns."""
    types = dict(re.fullmatch(r"(?:const )?(.*?) ?(\w+)", each.strip()).group(2, 1)
                 for each in arguments.split(",") if each.strip() != "void")
    names = "|".join(types) or "(?!)"
    about, *described = re.split(rf"(?:^|\n\s*)({names}): ", paragraphs(text))
    said = dict(zip(described[::2], described[1::2]))
    lines = text.count("\n")
    text = about.removesuffix("<p>")
    for name, kind in types.items():
        if name in said:
            what = said[name].removesuffix("<p>").replace("\n", " ")
        elif kind.startswith("duet_") and kind.endswith("**"):
            what = "where the new one goes"
        elif name in known:
            what = known[name]
        elif kind.startswith("duet_"):
            what = "a " + kind.rstrip("* ")
        else:
            continue
        text += f"{NEW_LINE}\\param {name} {what}"
    if result == "duet_status":
        text += f"{NEW_LINE}\\return {STATUS}"
    elif result not in ("", "void"):
        text += f"{NEW_LINE}\\return a {result}"
    return text + "\n" * (lines - text.count("\n"))


def convention(name):
    """What duet.h says of every operation; None of a name that it says nothing of."""
    if name.endswith("_INIT"):
        return f"Begins a {name[:-5].lower()}: struct_size and defaults, every other field 0."
    for ending, text in (("_inputs", "What is read."), ("_outputs", "What is written."),
                         ("_gradients", "What a backward pass reads (const views) and what it adds to."),
                         ("_forward", "The forward pass."), ("_backward", "The backward pass.")):
        if name.endswith(ending):
            return text
    return None


def documented(source):
    out, end = [], 0
    comments = [(each.start(), each.end()) for each in re.finditer(r"/\*.*?\*/", source, flags=re.DOTALL)]
    above = {}  # where a declaration begins: its comment
    for start, stop in comments:
        above[stop + 1] = (start, stop)
    edits = []
    used = set()
    shared = None
    for match in DECLARED.finditer(source):
        name = match[1] or match[2] or match[4] or match[6]
        of_views = match[0].startswith("static inline")
        own = above.get(match.start())
        if own:
            text = source[own[0] + 2:own[1] - 2].strip()
            used.add(own)
            shared = text
        elif of_views:
            text = shared  # of the views: one comment serves those that follow
        else:
            text = convention(name)
        if text is None:
            continue
        if match[4]:
            text = of_call(text, match[3].strip(), match[5], ARGUMENTS_OF_VIEWS if of_views else ARGUMENTS)
        elif match[6]:
            text = of_call(text, "", match[7], {})
        else:
            text = paragraphs(text)
        if own:
            edits.append((own[0], own[1], f"/** {text} */"))
        else:
            edits.append((match.start(), match.start(), f"/** {text} */ "))
    for start, stop in comments:
        if (start, stop) in used:
            continue
        text = source[start + 2:stop - 2].strip()
        line = source[source.rfind("\n", 0, start) + 1:start]
        if line.strip():
            edits.append((start, stop, f"/**< {escaped(text)} */"))
        elif start == 0 or source.startswith(("\n\n", "\n#if"), stop):
            command = "\\mainpage" if source.startswith("#ifndef DUET_DUET_H", stop + 1) else "\\file"
            edits.append((start, stop, f"/** {command}{NEW_LINE}{paragraphs(text)} */"))
        else:
            edits.append((start, stop, f"/** {paragraphs(text)} */"))
    for start, stop, text in sorted(edits):
        out += [source[end:start], text]
        end = stop
    return "".join([*out, source[end:]])


with open(sys.argv[1]) as header:
    sys.stdout.write(documented(header.read()))
