"""The order of the rooms: imports run downwards only, and nobody takes a room for a package of its own."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import ROOT

ROOMS = ("emulator", "inference", "surveys", "synthesis")
BELOW = {
    "base": {"base"},
    "emulator": {"emulator", "base"},
    "synthesis": {"synthesis", "emulator", "base"},
    "surveys": {"surveys", "base"},
    "inference": {"inference", "synthesis", "surveys", "emulator", "base"},
}
"""What the files of each room may import of ours; the face (astrogf.config, cli, fitting, ...) is above all of them."""
TREES = (*ROOMS, "astrogf", "tests", "tools", "benchmarks")


def sources(tree: str) -> list[Path]:
    """Python files of a folder at the top; links to other folders are not followed."""
    return sorted(p for p in (ROOT / tree).rglob("*.py") if not any(q.is_symlink() for q in p.parents))


def imported(text: str) -> Iterator[str]:
    """Full names of all that a text imports, wherever in it: `from a import b` is a and a.b."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_of(path: Path) -> set[str]:
    """Rooms of ours that a file imports; the face is named by its module."""
    names = (name.split(".") for name in imported(path.read_text()))
    return {(name[1:] or ["the face itself"])[0] for name in names if name[0] == "astrogf"}


@pytest.mark.parametrize("room", BELOW)
def test_imports_run_downwards(room):
    files = sources("astrogf/base" if room == "base" else room)
    assert files
    wrong = {str(p.relative_to(ROOT)): above for p in files if (above := rooms_of(p) - BELOW[room])}
    assert not wrong


def test_the_test_would_see_an_upward_import(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("def f():\n    from astrogf import config\n    import astrogf.inference.fit\n    import astrogf\n")
    assert rooms_of(path) == {"config", "inference", "the face itself"}


@pytest.mark.parametrize("tree", TREES)
def test_rooms_are_imported_as_parts_of_astrogf(tree):
    """The same file under two names is two modules, and two classes of every one in it."""
    files = sources(tree)
    assert files
    bare = [str(p) for p in files if any(name.split(".")[0] in ROOMS for name in imported(p.read_text()))]
    assert not bare


def test_so_do_the_pages():
    """Code blocks of the documentation, `python -m` included."""
    bare = re.compile(rf"^\s*(?:from|import)\s+(?:{'|'.join(ROOMS)})\b|python -m (?:{'|'.join(ROOMS)})\b", re.MULTILINE)
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    assert len(pages) > 3
    assert not {page.name: bare.findall(page.read_text()) for page in pages if bare.search(page.read_text())}
