"""Where tests find things: the checkout, the small files kept with the tests, and real data beside the project."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
DECKS = DATA / "atlas9_decks.txt.gz"
SHARED = ROOT.parent / "shared" / "data"
"""Real and reference data; never part of the project."""
