"""The distributions as a user gets them: built, installed in a clean environment, used from another folder.

Run: python tools/check_package.py. Builds sdist and wheel (the wheel from the sdist), and says what is wrong with them:
a top-level module other than astrogf, a table that is missing, a command that does not start. The clean environment
takes the dependencies from the one that this runs in; astrogf itself comes from the wheel alone. Nothing there may open
a connection, and importing astrogf may take no longer than SLOWEST_IMPORT.
"""

import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGEST_MB = 30
SLOWEST_IMPORT, TRIES = 0.3, 5
"""Seconds of `import astrogf`, the best of so many processes (others may hold the cores)."""
ROOMS = ("astrogf", "inference", "surveys", "synthesis", "emulator")
USE = """
import socket, sys
def refuse(*_, **__):
    raise AssertionError("astrogf opened a connection")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import astrogf
import numpy as np
assert "site-packages" in astrogf.__file__ and "clean" in astrogf.__file__, astrogf.__file__
spectrum = astrogf.synthesize((5777, 4.44, 0.0, 0.1), None, 5170, 5172, medium="air", resolution=50_000)
assert np.isfinite(spectrum.normalised).all() and spectrum.normalised.min() < 0.9
import astrogf.fitting.report, astrogf.inference.fit, astrogf.surveys.load
from importlib.resources import files
assert (files("astrogf.fitting") / "templates" / "report.html.j2").is_file()
assert (files("astrogf") / "py.typed").is_file()
bare = [m for m in sys.modules if m.split(".")[0] in ("inference", "surveys", "synthesis", "emulator")]
assert not bare, bare
print("a spectrum of", len(spectrum.wavelength), "points, deepest", round(float(spectrum.normalised.min()), 3))
"""


def build(out: Path) -> tuple[Path, Path]:
    """sdist, and the wheel built from it."""
    command = ["uv", "build", "--quiet", "--offline", "--no-build-isolation", "--python", sys.executable]
    subprocess.run([Path(sys.executable).with_name("uv"), *command[1:], "--out-dir", out, ROOT], check=True)
    [sdist], [wheel] = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def source_files() -> list[str]:
    """Files of the package in the checkout, by their paths in it: those that git knows, where there is a .git."""
    if (ROOT / ".git").exists():
        command = ["git", "-C", ROOT, "ls-files", *ROOMS]
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    else:
        # the links in astrogf/ are not followed
        names = [str(p.relative_to(ROOT)) for room in ROOMS for p in (ROOT / room).rglob("*") if p.is_file()]
    return [name for name in names if not (ROOT / name).is_symlink() and "__pycache__" not in name]


def complaints(sdist: Path, wheel: Path) -> list[str]:
    """What is wrong with the files in them."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    wrong = []
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    if tops != {"astrogf"}:
        wrong.append(f"top-level modules of the wheel: {sorted(tops)}")
    wanted = {f if f.startswith("astrogf/") else f"astrogf/{f}" for f in source_files()}
    for missing in sorted(wanted - set(names)):
        wrong.append(f"not in the wheel: {missing}")
    with tarfile.open(sdist) as archive:
        inside = {name.split("/", 1)[-1] for name in archive.getnames()}
    for missing in sorted(wanted - inside):
        wrong.append(f"not in the sdist: {missing}")
    if wheel.stat().st_size > LARGEST_MB * 1e6:
        wrong.append(f"the wheel has {wheel.stat().st_size / 1e6:.1f} MB, more than {LARGEST_MB}")
    return wrong


def use(wheel: Path, folder: Path) -> None:
    """Install the wheel alone in a clean environment and use it from another folder."""
    clean = folder / "clean"
    venv.create(clean, with_pip=False)
    python = clean / "bin" / "python"
    site = Path(subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip())  # fmt: skip
    # a path file inside a path that a path file names is not read: the editable astrogf stays out
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    installer = Path(sys.executable).with_name("uv")
    subprocess.run(
        [installer, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel], check=True
    )
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([clean / "bin" / "astrogf", "--help"], check=True, cwd=elsewhere, stdout=subprocess.DEVNULL)
    subprocess.run([python, "-c", USE], check=True, cwd=elsewhere)
    took = import_time(python, elsewhere)
    print(f"import astrogf: {took:.3f} s, the best of {TRIES}")
    if took > SLOWEST_IMPORT:
        sys.exit(f"import astrogf took {took:.2f} s, more than {SLOWEST_IMPORT}: see what it loads with -X importtime")


def import_time(python: Path, folder: Path) -> float:
    """Seconds of `import astrogf` in a new process."""
    code = "import time; began = time.perf_counter(); import astrogf; print(time.perf_counter() - began)"
    command = [python, "-c", code]
    runs = [subprocess.run(command, check=True, cwd=folder, capture_output=True, text=True) for _ in range(TRIES)]
    return min(float(run.stdout) for run in runs)


def main() -> None:
    """Build, look, install, use."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sdist, wheel = build(folder / "dist")
        wrong = complaints(sdist, wheel)
        print(f"{sdist.name}: {sdist.stat().st_size / 1e6:.1f} MB; {wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
        if wrong:
            sys.exit("\n".join(wrong))
        use(wheel, folder)
        print("installed in a clean environment and used from another folder; top-level modules: astrogf alone")


if __name__ == "__main__":
    main()
