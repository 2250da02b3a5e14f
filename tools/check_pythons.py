"""astrogf on every Python that it declares, of those that are on this machine.

Run: python tools/check_pythons.py [--newest] [TEST ...]. Each interpreter that is found gets an environment of its own
in a temporary folder, with the versions of requirements.lock, or with the newest that pyproject.toml allows, as
somebody gets who installs astrogf today; and runs the tests named (a selection that takes minutes, if none are).
Ends with an error where one fails, and names those that are not here.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
TESTS = (
    "tests/base", "tests/astrogf/test_api.py", "tests/astrogf/test_results.py", "tests/astrogf/test_report.py",
    "tests/astrogf/test_config.py", "tests/synthesis/lineio", "tests/inference/test_statistics.py",
    "tests/inference/newton/test_sweep.py",
)  # fmt: skip
"""What may differ between Pythons: imports, typing, text, tables, JAX and what is optional; and a pass of a fit."""


def declared() -> list[str]:
    """'3.11', '3.12' ... of the classifiers in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = (re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", text) for text in project["classifiers"])
    return [match[1] for match in found if match]


def interpreter(version: str) -> str | None:
    """A Python of this version that runs: on the path, of uv, or of pyenv; None where there is none."""
    command = [UV, "python", "find", "--offline", "--no-python-downloads", "--no-project", "--system", version]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [
        shutil.which(f"python{version}"),
        subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip(),
        *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)),
    ]
    # a shim of pyenv is on the path and runs nothing
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for python in filter(None, found):
        if subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip() == version:
            return python
    return None


def tried(python: str, folder: Path, tests: list[str], newest: bool) -> int:
    """The exit code of the tests in an environment of this interpreter."""
    environment = folder / "environment"
    subprocess.run([python, "-m", "venv", environment], check=True)
    own = environment / "bin" / "python"
    pinned = ["--require-hashes", "--only-binary", ":all:", "--no-deps", "-r", ROOT / "requirements.lock"]
    install = [UV, "pip", "install", "--quiet", "--python", own]
    if newest:
        subprocess.run([*install, f"{ROOT}[dev]"], check=True)
    else:
        subprocess.run([*install, *pinned], check=True)
        subprocess.run([*install, "--no-deps", "--no-build-isolation", ROOT], check=True)
    # the checkout's own astrogf comes first in the tests; the installed one is for what starts new processes
    command = [own, "-m", "pytest", "-q", "-p", "no:xdist", *tests]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}).returncode


def main() -> None:
    """Every declared Python."""
    newest = "--newest" in sys.argv
    tests = [x for x in sys.argv[1:] if x != "--newest"] or list(TESTS)
    absent, failed, good = [], [], []
    for version in declared():
        python = interpreter(version)
        if python is None:
            absent.append(version)
            continue
        print(f"Python {version}: {python}", flush=True)
        with tempfile.TemporaryDirectory() as name:
            (failed if tried(python, Path(name), tests, newest) else good).append(version)
    print(f"passed: {', '.join(good) or 'none'}; not on this machine: {', '.join(absent) or 'none'}")
    if failed or not good:
        sys.exit(f"failed: {', '.join(failed) or 'no declared Python is here'}")


if __name__ == "__main__":
    main()
