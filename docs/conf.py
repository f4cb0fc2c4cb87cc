"""The site that `./dev docs` builds with Sphinx. The pages are the repository's Markdown files, where they lie."""
import importlib.util
import re
from inspect import getsource
from pathlib import Path

from sphinx.ext.autodoc.mock import mock
from sphinx.util import inspect, logging
from sphinx.util.inspect import stringify_signature

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 120  # of a line of the sources

project = "duet"
release = re.search(r"project\(duet VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "python/README.md", "kernels/README.md", "kernels/*/*.md",
                    "bench/results/*.md", "data/samples/README.md", "examples/README.md"]
exclude_patterns = ["build", ".*"]
myst_heading_anchors = 4
highlight_language = "none"
smartquotes = False  # A' is a formula

html_theme = "alabaster"
html_theme_options = {"page_width": "96%", "body_max_width": "none", "font_size": "15px"}
html_sidebars = {"**": ["about.html", "searchbox.html", "navigation.html"]}
html_show_sourcelink = html_show_copyright = False

autodoc_mock_imports = [] if importlib.util.find_spec("torch") else ["torch"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# Types of other packages, of which nothing is here, and the package's own that a caller does not name.
nitpick_ignore_regex = [("py:.*", r"(numpy|torch|collections|os)\..*|Result|Tensor"),
                        ("py:.*", r"(duet(\.\w+)*\.)?(_\w+(\.\w+)*|Borrowed)")]


def links_to_folders(app, page, source):
    """A link to a folder becomes its text: a folder is no page."""
    folder = (ROOT / page).parent
    source[0] = re.sub(r"\[([^][]+)\]\(([^)#:\s]+)\)",
                       lambda match: match[1] if (folder / match[2]).is_dir() else match[0], source[0])


def docstring(app, what, name, thing, options, lines):
    """Docstrings are plain text: a line that had room for the next line's first word ends a paragraph, an indented one
    goes on. Of a field of a named tuple the comment behind it is what is said."""
    if lines and lines[0].startswith("Alias for field number"):
        module, owner, field = name.rsplit(".", 2)
        source = getsource(getattr(__import__(module, fromlist=[owner]), owner))
        comment = re.search(rf"^    {field}: .*?  # (.*)$", source, flags=re.MULTILINE)
        lines[:] = [comment[1]] if comment else []
    room = WIDTH - (8 if what in ("method", "property") else 0 if what == "module" else 4)
    text = "\n".join(lines).strip().split("\n")
    out = []
    for number, line in enumerate(text):
        before = text[number - 1] + ('"""' if number == 1 else "") if number else ""
        goes_on = line.startswith(" ") or len(before) + 1 + len(line.split(" ")[0]) > room
        if before and line and not goes_on:
            out.append("")
        parts = line.strip().split("`")
        parts[::2] = [re.sub(r"([*|\\]|(?<=\w)_(?!\w))", r"\\\1", each) for each in parts[::2]]
        out.append("``".join(parts))
    lines[:] = [*out, ""]


def signature(app, what, name, thing, options, arguments, result):
    """A class is shown with the arguments of its constructor, also where what it is derived from is not here; what only
    the package itself makes, without."""
    if what == "class" and getattr(thing.__init__, "__module__", "").startswith("duet"):
        arguments = stringify_signature(inspect.signature(thing.__init__, bound_method=True),
                                        show_return_annotation=False, unqualified_typehints=True)
    if what == "class" and arguments and re.search(r"\b_[A-Z]|Borrowed", arguments):
        arguments = ""
    return arguments, None if what == "class" else result


def all_is_there(app, env):
    """Every public name of the package is on a page: one without a docstring is passed over."""
    with mock(autodoc_mock_imports):
        import duet
        import duet.torch

    there = env.get_domain("py").objects
    names = [f"duet.{name}" for name in duet.__all__] + [f"duet.torch.{name}" for name in duet.torch.__all__]
    for name in names:
        if name not in there and name not in ("duet.__version__", "duet.torch.functional"):
            logging.getLogger(__name__).warning("%s: expected a docstring, found none", name)


def first_page(app, error):
    """build/docs/index.html leads to the first page."""
    if not error:
        (Path(app.outdir) / "index.html").write_text('<meta http-equiv="refresh" content="0; url=docs/index.html">\n')


def setup(app):
    app.connect("source-read", links_to_folders)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
    app.connect("env-check-consistency", all_is_there)
    app.connect("build-finished", first_page)
