"""A run folder that holds only what `astrogf export` reads: the list it had, and corrections of some of its lines."""

import json
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from astrogf.config import Config
from astrogf.synthesis.lineio import read_lines, write_lines
from astrogf.synthesis.lineio.records import Medium
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.shipped import load_all_lines

SUFFIX = {"ecsv": "ecsv"}
NEEDS_MEDIUM = ("turbospectrum", "moog")


def mixed_lines() -> LineList:
    """Shipped lines near 5184 A: atoms and molecules, and hyperfine and isotopic components (Nd II, Co I) of others."""
    near = load_all_lines(5182.0, 5184.5)
    split = load_all_lines(4950.0, 4964.0)
    _, count = np.unique(split.transition, return_counts=True)
    several = np.unique(split.transition)[count > 3]
    parts = split.take(np.isin(split.transition, several) & (split.z <= 92))
    lines = parts.merged(near)
    # what no list prints: numbers of single precision
    return lines.replace(loggf=np.round(lines.loggf, 3), elow=np.round(lines.elow, 4))


def written(folder: Path, format: str, lines: LineList | None = None, medium: Medium = "air") -> Path:
    """A list in a format, as a user has it; without molecules where the format has none."""
    lines = mixed_lines() if lines is None else lines
    lines = lines.take(lines.z <= 92) if format == "kurucz" else lines
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"mine.{SUFFIX.get(format, 'list')}"
    write_lines(path, lines, format, None if format == "ecsv" else medium)
    return path


def known_as(format: str) -> dict:
    """What a reader has to be told of a list in a format."""
    return {"medium": "air"} if format in NEEDS_MEDIUM else {}


def run_with(folder: Path, path: Path | None, lines: LineList, seed: int = 3, **config) -> Table:
    """Write the run; every third transition was free, half of these informed. Returns loggf.ecsv.

    `path` is the list (None: the shipped one), `lines` what its reader gives; `config` goes into [lines].
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    free = np.unique(lines.transition)[::3]
    leaders = np.array(
        [rows[np.argmax(lines.loggf[rows])] for rows in (np.flatnonzero(lines.transition == t) for t in free)]
    )
    leaders = leaders[np.argsort(lines.wavelength[leaders], kind="stable")]
    mine = lines.take(leaders)
    n = len(mine)
    ratio = np.where(np.arange(n) % 2 == 0, 0.2, 0.8)
    table = Table(
        {
            "wavelength": mine.wavelength,
            "species": mine.species(),
            "elow": mine.elow,
            "loggf": mine.loggf,
            "correction": np.round(rng.normal(0.0, 0.2, n), 4) + 0.001,
            "posterior_sd": np.full(n, 0.05),
            "prior_sd": 0.05 / ratio,
            "ratio": ratio,
            "group": [f"{s} abo" for s in mine.species()],
            "components": [int(np.sum(lines.transition == t)) for t in mine.transition],
        }
    )
    table.write(folder / "loggf.ecsv", format="ascii.ecsv", overwrite=True)
    if path is not None:
        config = {"list": str(path), "borrow_damping": False} | config
    settings = Config().changed(lines=config, model={"molecules": path is None})
    record = {"command": "fit", "status": "finished", "config": settings.model_dump(mode="json")}
    (folder / "record.json").write_text(json.dumps(record))
    return table


def with_spectra(folder: Path, *wavelengths: np.ndarray) -> None:
    """Windows of pixels as spectra.fits has them."""
    image = fits.ImageHDU(np.concatenate(wavelengths), name="WAVELENGTH")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(folder / "spectra.fits", overwrite=True)


def read(path: Path, format: str) -> LineList:
    """The list as a user reads it again."""
    return read_lines(path, **known_as(format))
