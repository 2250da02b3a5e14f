"""Lists as `astrogf export` writes them, read by the readers of other programs: PySME's of VALD, pymoog's of MOOG.

Run: python tools/check_readers.py. Makes .cache/readers, an environment of its own (PySME needs an older astropy than
astrogf), from the package registry; says the first number that another program reads otherwise than it was meant.
exojax's reader of VALD takes the long format alone, whose upper levels a `LineList` has not.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np

from astrogf.base.air import vacuum_to_air
from astrogf.exporting.export import AIR, KORG
from astrogf.synthesis.lineio.rewrite import corrected
from astrogf.synthesis.lineio.write import moog_code, write_lines
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import load_all_lines

FOLDER = Path(__file__).resolve().parents[1] / ".cache" / "readers"
PACKAGES = ("pysme-astro==1.2.0", "PyAstronomy==0.25.0", "mendeleev==1.3.0")
ALONE = ("pymoog==0.0.3",)
"""Installed without what it declares: the last release of which there is a wheel."""
READ_VALD = """
import json, sys
from pysme.linelist.vald import ValdFile
v = ValdFile(sys.argv[1])
columns = {"wavelength": "wlcent", "loggf": "gflog", "elow": "excit", "species": "species", "vdw": "gamvw"}
columns |= {"rad": "gamrad", "stark": "gamqst"}
print(json.dumps({"medium": v.medium} | {k: v[c].tolist() for k, c in columns.items()}))
"""
READ_MOOG = """
import json, sys
from pymoog.line_data import read_linelist
d = read_linelist(sys.argv[1])
columns = {"wavelength": "wavelength", "loggf": "loggf", "elow": "EP", "species": "id", "vdw": "C6"}
print(json.dumps({k: d[c].tolist() for k, c in columns.items()}))
"""


def environment() -> tuple[Path, dict[str, str]]:
    """The interpreter with the other programs, made if it is not there, and the variables it is started with."""
    python, home = FOLDER / "bin" / "python", FOLDER / "home"
    if not (FOLDER / "ready").exists():
        venv.create(FOLDER, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *PACKAGES], check=True)
        subprocess.run([*install, "--no-deps", *ALONE], check=True)
        home.mkdir()
        [package] = FOLDER.glob("lib/python3*/site-packages/pymoog")
        (home / ".pymoog").symlink_to(package)  # where it looks for its own files
        (FOLDER / "ready").touch()
    # READTHEDOCS keeps pymoog from compiling MOOG when it is imported
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return python, clean | {"HOME": str(home), "READTHEDOCS": "True"}


def read_by(code: str, path: Path) -> dict:
    """What another program reads in a file."""
    python, variables = environment()
    done = subprocess.run([python, "-c", code, path], env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{path} is not read:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def example() -> LineList:
    """Atoms, ions, molecules, isotopes and hyperfine components, with corrections."""
    lines = load_all_lines(5160.0, 5190.0).merged(load_all_lines(4950.0, 4964.0))
    return corrected(lines, np.random.default_rng(5).normal(0.0, 0.3, len(lines)))


def same(what: str, mine: np.ndarray, theirs: list, tolerance: float) -> None:
    """Raise SystemExit with the first number that differs."""
    if len(mine) != len(theirs):
        raise SystemExit(f"{what}: {len(theirs)} read, {len(mine)} written")
    apart = np.abs(np.asarray(mine, float) - np.asarray(theirs, float))
    if np.any(bad := ~(apart <= tolerance)):
        k = int(np.argmax(bad))
        raise SystemExit(f"{what} of line {k}: {theirs[k]} read, {mine[k]} written")


def check_vald(path: Path, lines: LineList, medium: str) -> None:
    """PySME's reader of a VALD list."""
    found = read_by(READ_VALD, path)
    if found["medium"] != medium[:3]:
        raise SystemExit(f"{path}: wavelengths of {medium} are read as of {found['medium']}")
    wavelength = vacuum_to_air(lines.wavelength) if medium == "air" else lines.wavelength
    same(f"{path}: wavelength", wavelength, found["wavelength"], 1e-5)
    same(f"{path}: log gf", lines.loggf, found["loggf"], 5.1e-4)
    same(f"{path}: lower energy", lines.elow, found["elow"], 5.1e-5)
    same(f"{path}: radiative width", lines.log_gamma_rad, found["rad"], 5.1e-4)
    names = [f"{name.rsplit(' ', 1)[0]} {ion}" for name, ion in zip(lines.species(), lines.ion, strict=True)]
    if names != found["species"]:
        raise SystemExit(f"{path}: species differ")


def check_moog(path: Path, lines: LineList) -> None:
    """pymoog's reader of a MOOG list."""
    found = read_by(READ_MOOG, path)
    same(f"{path}: wavelength", vacuum_to_air(lines.wavelength), found["wavelength"], 5.1e-4)
    same(f"{path}: log gf", lines.loggf, found["loggf"], 5.1e-4)
    same(f"{path}: lower energy", lines.elow, found["elow"], 5.1e-5)
    kinds = zip(lines.z, lines.ion, lines.isotope, strict=True)
    same(f"{path}: species", np.array([float(moog_code(*map(int, k))) for k in kinds]), found["species"], 1e-9)
    atoms = lines.z <= 92
    same(f"{path}: damping", lines.log_gamma6[atoms], np.array(found["vdw"])[atoms].tolist(), 5.1e-4)


def main() -> None:
    """All that can be read by another program."""
    lines, out = example(), FOLDER.parent / "lists"
    environment()
    out.mkdir(parents=True, exist_ok=True)
    for name, format, medium in (("vald", "vald", AIR), ("korg", *KORG)):
        write_lines(out / f"{name}.list", lines, format, medium)
        check_vald(out / f"{name}.list", lines, medium)
        print(f"{name}: {len(lines)} lines, wavelengths in {medium}, read by PySME as they are meant")
    write_lines(out / "moog.list", lines, "moog", AIR)
    check_moog(out / "moog.list", lines)
    print(f"moog: {len(lines)} lines read by pymoog as they are meant")


if __name__ == "__main__":
    sys.exit(main())
