"""How `make docs` makes a site of the pages."""

from importlib import import_module
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]

project = "spkg"
author = "the spkg authors"
project_copyright = "the spkg authors"
release = next(
    line.split('"')[1]
    for line in (ROOT / "pyproject.toml").read_text().splitlines()
    if line.startswith("version = ")
)
needs_sphinx = version_of("sphinx").partition(".")[0]

# The libraries import their names when they are first used; autodoc shows only what is there.
for library in map(import_module, ("spkg", "vouchers")):
    for name in library.__all__:
        setattr(library, name, getattr(library, name))

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # the types in signatures are explained where they are made

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_typehints = "description"
autodoc_member_order = "alphabetical"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"spkg {release}"
html_show_sourcelink = False
html_copy_source = False


def setup(app: Any) -> None:
    """Have links to the README lead to the first page, and sentences with a colon stay sentences."""
    app.connect("source-read", _link_to_index)
    app.connect("autodoc-process-docstring", _keep, priority=400)
    app.connect("autodoc-process-docstring", _restore, priority=600)


def _link_to_index(_app: Any, _page: str, source: list[str]) -> None:
    source[0] = source[0].replace("](../README.md)", "](index.md)")


# Napoleon takes what is before a colon for the type of an attribute; ours have theirs in the annotation.
_kept: dict[str, list[str]] = {}


def _keep(_app: Any, what: str, called: str, _object: Any, _options: Any, lines: list[str]) -> None:
    if what in {"attribute", "property"}:
        _kept[called] = [*lines]


def _restore(_app: Any, _what: str, called: str, _object: Any, _options: Any, lines: list[str]) -> None:
    if called in _kept:
        lines[:] = _kept.pop(called)
