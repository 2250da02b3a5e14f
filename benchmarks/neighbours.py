"""Coverage of the corrections beside lines that the list does not have, and elsewhere.

Run: astrogf demo --config configs/demo_missing.toml --out RUN
     python benchmarks/neighbours.py RUN [--within 2.5] [--edges 1.45 2.9 5.8]
"""

import argparse
from pathlib import Path

import numpy as np

from astrogf.base.tables import read_table
from astrogf.runs import folder as runs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--within", type=float, default=2.5, help="Angstrom; LAMOST's resolution is 2.9")
    parser.add_argument("--edges", type=float, nargs="*", default=[], help="Angstrom: how far the harm reaches")
    arguments = parser.parse_args()
    run, truth = runs.read(arguments.run), read_table(arguments.run / "truth_lines.ecsv")
    missing = np.asarray(truth["wavelength"])[np.asarray(truth["missing"])]
    if not len(missing):
        raise SystemExit(f"{arguments.run} has no missing lines: set [demo] missing")
    lines = run.lines[~np.ma.getmaskarray(np.ma.asarray(run.lines["injected"]))]
    wavelength, ratio = np.asarray(lines["wavelength"]), np.asarray(lines["ratio"], float)
    z = np.asarray(lines["correction"] - lines["injected"], float) / np.asarray(lines["posterior_sd"], float)
    distance = np.min(np.abs(wavelength[:, None] - missing), axis=1)
    near = distance < arguments.within
    print(f"{len(missing)} missing lines: {', '.join(f'{w:.1f}' for w in np.sort(missing))} A")
    for name, group in (("beside", near), ("elsewhere", ~near)):
        for what, mine in (("all free", group), ("informed", group & (ratio < 0.5))):
            inside = [100 * np.mean(np.abs(z[mine]) < k) if mine.any() else np.nan for k in (1, 2)]
            print(f"{name:10s} {what:9s} {mine.sum():5d} lines: within 1, 2 sd {inside[0]:5.1f}%, {inside[1]:5.1f}%, "
                  f"rms z {np.sqrt(np.mean(z[mine] ** 2)) if mine.any() else np.nan:.2f}")  # fmt: skip
    for low, high in zip((0.0, *arguments.edges), (*arguments.edges, np.inf), strict=True):
        mine = (distance >= low) & (distance < high)
        if arguments.edges and mine.any():
            inside = [100 * np.mean(np.abs(z[mine]) < k) for k in (1, 2)]
            print(f"{low:g}-{high:g} A: {mine.sum()} lines, within 1, 2 sd {inside[0]:.1f}%, {inside[1]:.1f}%, "
                  f"rms z {np.sqrt(np.mean(z[mine] ** 2)):.2f}")  # fmt: skip
    shared = run.record["shared"]
    print("inflation:", {k: round(v["value"], 5) for k, v in shared.items() if k.startswith("inflation")})


if __name__ == "__main__":
    main()
