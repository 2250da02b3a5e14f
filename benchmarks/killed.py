"""`astrogf fit` killed with SIGKILL at random moments and gone on with, against one that is left alone.

A small simulated survey; the process is killed after a random time, over and over, and at last left to finish. Every
table and array of the two runs must be the same.

    python benchmarks/killed.py --kills 10 --json killed.json
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

CONFIG = """
[survey]
window = [5200.0, 5240.0]
snr_min = 0.0
[model]
oversampling = 6
depths = 16
line_cut = 0.02
molecules = false
rv_reach = 200.0
widest_sigma = 70.0
[lines]
max_lines = 40
max_ratio = 0.99
[continuum]
degree = 2
[stars]
max_chi2 = 100.0
[solver]
chunk = 2
star_iterations = 4
joint_iterations = 6
tolerance = 0.001
[demo]
stars = 4
oversampling = 6
depths = 16
"""
SIMULATE = """
import sys
from pathlib import Path
from astrogf.runtime import ready_to_compute
ready_to_compute()
from astrogf.config import load
from astrogf.inference.rehearsal.survey import simulate_survey
config = load(Path(sys.argv[1]))
simulate_survey(config.demo, config.survey, config, Path(sys.argv[2]))
"""


def differences(one: Path, other: Path) -> dict[str, float]:
    """Largest difference of every number of two runs, by file, in units of the number where that is above 1; nan where
    one of the two has a number and the other none."""
    found = {}
    for name in ("stars.ecsv", "loggf.ecsv", "hyper.ecsv", "selection.ecsv"):
        a, b = (Table.read(folder / name) for folder in (one, other))
        assert a.colnames == b.colnames
        found[name] = max(_apart(a[c], b[c]) for c in a.colnames if a[c].dtype.kind in "fi")
        assert all((a[c] == b[c]).all() for c in a.colnames if a[c].dtype.kind not in "fi")
    for name in ("spectra.fits", "posterior.fits"):
        with fits.open(one / name) as a, fits.open(other / name) as b:
            found[name] = max(_apart(x.data, y.data) for x, y in zip(a, b, strict=True) if isinstance(x, fits.ImageHDU))
    with np.load(one / "statistics.npz") as a, np.load(other / "statistics.npz") as b:
        numbers = [n for n in a.files if a[n].dtype.kind == "f"]
        found["statistics.npz"] = max(_apart(a[n], b[n]) for n in numbers)
    return found


def _apart(a, b) -> float:
    a, b = (np.ma.filled(np.ma.asarray(x, dtype=float), np.nan) for x in (a, b))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return float(np.max(np.where(same, 0.0, np.abs(a - b) / np.maximum(np.abs(a), 1.0)), initial=0.0))


def measure(folder: Path, kills: int, seed: int = 0) -> dict:
    """Two runs left alone, and others killed so often at random moments of the time that those took; every one of them
    is gone on with until it is done."""
    config, spectra = folder / "small.toml", folder / "spectra"
    config.write_text(CONFIG)
    subprocess.run([sys.executable, "-c", SIMULATE, config, spectra], check=True)
    command = [sys.executable, "-m", "astrogf", "fit", str(config), "--spectra", str(spectra), "--resume", "--out"]

    def done(name: str) -> float:
        began = time.perf_counter()
        subprocess.run([*command, str(folder / name)], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    done("first")
    alone = done("alone")  # of compiled programs
    rng, killed, run = np.random.default_rng(seed), [], 0
    while len(killed) < kills:
        process = subprocess.Popen([*command, str(folder / f"killed_{run}")], stdout=subprocess.DEVNULL)
        moment = float(rng.uniform(0.0, alone))
        try:
            process.wait(moment)
            run += 1
            continue
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        states = sorted(p.stem for p in (folder / f"killed_{run}" / "checkpoint").glob("*.npz"))
        killed.append({"run": run, "seconds": round(moment, 1), "states": states})
    done(f"killed_{run}")
    return {
        "seconds_alone": alone,
        "kills": killed,
        "two_left_alone": differences(folder / "first", folder / "alone"),
        "killed_and_alone": [differences(folder / f"killed_{k}", folder / "alone") for k in range(run + 1)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), given.kills, given.seed)
    text = json.dumps(found, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
