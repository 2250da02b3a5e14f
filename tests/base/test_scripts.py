"""Scripts in tools/ and benchmarks/ ask the package for names that it has: most of them are run once a year."""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([*ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/*.py")])


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_names_that_a_script_imports_exist(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("astrogf")):
            continue
        module = import_module(str(node.module))
        for name in node.names:
            there = hasattr(module, name.name) or find_spec(f"{node.module}.{name.name}") is not None
            assert there, f"line {node.lineno}: {node.module} has no {name.name}"
