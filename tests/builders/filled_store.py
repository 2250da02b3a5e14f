"""Small stores for the tests, filled from memory, and what "the same bytes" means."""

import hashlib

import numpy as np

from astrogf.surveys.store.store import PixelGrid, create
from astrogf.surveys.store.writer import open_writer

SMALL = PixelGrid(36900, 1e-4, 40)


class Killed(BaseException):
    """Not an Exception, so that nothing that catches exceptions can mend what a kill would have broken."""


def hashes(folder):
    """sha256 of every file, by its path: what 'the same bytes' means."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def small_spectrum(i):
    rng = np.random.default_rng(i)
    flux, ivar = rng.normal(500, 5, SMALL.n_pixel), rng.uniform(0.01, 0.04, SMALL.n_pixel)
    dead = rng.random(SMALL.n_pixel) < 0.1
    flux[dead] = ivar[dead] = 0
    row = {"path": f"{i:03d}.fits", "sha256": f"{i:064x}", "ra": 10.0 + i // 2, "dec": 1.0, "snr": float(i)}
    row |= {"release": "DR5", "extra": i}
    return flux, ivar, row


def fill(path, numbers, chunk=8, source="memory"):
    if not path.exists():
        create(path, SMALL, chunk)
    with open_writer(path, source) as writer:
        for i in numbers:
            flux, ivar, row = small_spectrum(i)
            if i % 5 == 3:
                writer.set_aside(row["path"], "low_snr", f"{row['path']} is too faint for the test.", 10)
            else:
                writer.add(SMALL.first, flux, ivar, row)
