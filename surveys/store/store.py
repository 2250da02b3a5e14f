"""A store of spectra on one wavelength grid: Zarr arrays in chunks of stars, with a checksum for every file.

A directory of survey files is converted once (surveys.store.fill); fits then stream from the store. Any Zarr v3
reader opens it; what counts here is the journal, which names the finished chunks and their checksums.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from astropy.table import Table
from jaxtyping import Float
from zarr.codecs import BloscCodec, ZstdCodec

from astrogf.surveys.directory.load import group_stars
from astrogf.surveys.spectrum import LOG_STEP, SurveyError
from astrogf.surveys.store import journal

VERSION = 1
CHUNK = 512
"""Spectra a chunk: 16 MB of flux and ivar for LAMOST LRS. A kill costs the reading of at most so many files."""


class PixelGrid(NamedTuple):
    """Log-uniform vacuum grid: pixel i lies at 10**((first + i) * log_step) Angstrom."""

    first: int
    log_step: float
    n_pixel: int

    @property
    def wavelength(self) -> Float[np.ndarray, " pixel"]:
        return 10.0 ** (np.arange(self.first, self.first + self.n_pixel) * self.log_step)

    def describe(self) -> str:
        """Range, pixels and step in words."""
        low, high = self.wavelength[[0, -1]]
        return f"{low:.0f}-{high:.0f} A in {self.n_pixel} pixels of {self.log_step:g} dex"


_OPTICAL, _APOGEE = PixelGrid(35400, LOG_STEP, 4800), PixelGrid(696500, 6e-6, 8575)
GRIDS = {
    "lamost_lrs": PixelGrid(35682, LOG_STEP, 3909),
    "lamost_mrs_blue": PixelGrid(369000, 1e-5, 4400),
    "lamost_mrs_red": PixelGrid(379500, 1e-5, 4500),
    "sdss_optical": _OPTICAL,
    "mwmstar_boss": _OPTICAL,
    "apogee_apstar": _APOGEE,
    "apogee_aspcapstar": _APOGEE,
    "apogee_apvisit": _APOGEE,
    "mwmstar_apogee": _APOGEE,
}
"""The grid of every kind of spectrum, wide enough for all of its releases: 3700-9099 A, 4898-5420 A, 6237-6918 A,
3467-10469 A and 15101-17000 A. A store holds one kind: those of one grid still differ in frame and scale."""

PIXELS: dict[str, tuple[str, Any]] = {
    "flux": ("float32", 0.0),
    "ivar": ("float32", 0.0),
    "reasons": ("int32", 0),
    "lsf": ("float32", np.nan),
}
"""Arrays (star, pixel) with their fill values: flux, ivar (0 = unusable), bits of the reasons, Gaussian sigma of
the line-spread function in km/s (NaN where the file gives none)."""

COLUMNS: dict[str, str] = (
    dict.fromkeys(("path", "sha256", "survey", "release", "object", "obsid", "class", "subclass"), "string")
    | dict.fromkeys(("plan", "kind", "piece", "frame", "snr_source", "meta"), "string")
    | dict.fromkeys(("ra", "dec", "snr", "rv_header", "rv_header_err", "good_fraction"), "float64")
    | {f"snr_{band}": "float64" for band in "ugriz"}
    | dict.fromkeys(("source", "size", "mjd", "spectrograph", "fiber", "n_outside"), "int64")
)
"""Columns of the table. source: index into Store.sources. size: bytes of the file. good_fraction: usable pixels of
the grid. n_outside: usable pixels that the file has outside of the grid. meta: JSON of all else that the reader
told."""

UNITS = {"ra": "deg", "dec": "deg", "rv_header": "km/s", "rv_header_err": "km/s", "size": "byte"}
SNR_EDGES = (0, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300)
FILLS: dict[str, Any] = {"string": "", "float64": np.nan, "int64": 0}


def create(path: Path, grid: PixelGrid, chunk: int = CHUNK, kind: str = "") -> None:
    """An empty store; it appears whole or not at all. Raises SurveyError if something is there.

    kind: the only kind of spectra (a key of GRIDS) that surveys.store.fill is to put in; "" takes what fits the grid.
    """
    path = Path(path)
    if path.exists():
        raise SurveyError(f"{path} exists already: give a new name for the store.")
    if not (grid.n_pixel >= 1 and grid.log_step > 0 and chunk >= 1):
        raise SurveyError(f"A store cannot have {grid} in chunks of {chunk} spectra.")
    draft = path.with_name(f".{path.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    about: Any = {"astrogf_store": VERSION, "kind": kind, "chunk": chunk, **grid._asdict()}
    root: Any = zarr.create_group(draft, zarr_format=3, attributes=about)
    shuffled = BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle")
    for name, (kind, fill) in PIXELS.items():
        root.create_array(
            name,
            shape=(0, grid.n_pixel),
            chunks=(chunk, grid.n_pixel),
            dtype=kind,
            fill_value=fill,
            compressors=ZstdCodec(level=1) if name == "reasons" else shuffled,
            dimension_names=("star", "pixel"),
        )
    table = root.create_group("table")
    for name, kind in COLUMNS.items():
        table.create_array(
            name,
            shape=(0,),
            chunks=(chunk,),
            dtype=kind,
            fill_value=FILLS[kind],
            compressors=ZstdCodec(level=1),
            dimension_names=("star",),
            attributes={"unit": UNITS[name]} if name in UNITS else {},
        )
    wavelength: Any = root.create_array(
        "wavelength",
        shape=(grid.n_pixel,),
        dtype="float64",
        dimension_names=("pixel",),
        attributes={"unit": "Angstrom", "medium": "vacuum"},
    )
    wavelength[:] = grid.wavelength
    (draft / journal.JOURNAL).touch()
    draft.rename(path)


def array_name(name: str) -> str:
    """Where an array or a column lies below the store."""
    return name if name in PIXELS else f"table/{name}"


def chunk_file(name: str, chunk: int) -> str:
    """The file of one chunk of an array or column, below the store."""
    return f"{array_name(name)}/c/{chunk}" + ("/0" if name in PIXELS else "")


class Store:
    """A store opened for reading: what was finished when it was opened. Raises SurveyError if `path` is none."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not (self.path / journal.JOURNAL).is_file():
            what = "is no store of spectra (it has no journal)" if self.path.exists() else "does not exist"
            raise SurveyError(f"{self.path} {what}: give what `astrogf ingest DIRECTORY --store PATH` wrote.")
        try:
            self._root: Any = zarr.open_group(self.path, mode="r", zarr_format=3)
            about: dict[str, Any] = dict(self._root.attrs)
            self.version, self.chunk = int(about["astrogf_store"]), int(about["chunk"])
            self.kind = str(about["kind"])
            self.grid = PixelGrid(int(about["first"]), float(about["log_step"]), int(about["n_pixel"]))
        except (KeyError, ValueError, TypeError, OSError) as err:
            raise SurveyError(f"{self.path} is a damaged store: its zarr.json does not say what it holds.") from err
        if self.version != VERSION:
            raise SurveyError(
                f"{self.path} is a store of version {self.version}; this astrogf reads version {VERSION}."
            )
        self.steps, self.journal_bytes = journal.read(self.path)
        self.n = self.steps[-1].rows if self.steps else 0
        self._arrays: dict[str, Any] = {}
        # a later step may have filled up the chunk of an earlier one
        self._files = {step.chunk: step.files for step in self.steps if step.chunk >= 0}

    def __len__(self) -> int:
        return self.n

    @property
    def n_chunk(self) -> int:
        return -(-self.n // self.chunk)

    @property
    def complete(self) -> bool:
        """Whether the last run that wrote here came to its end."""
        return bool(self.steps) and self.steps[-1].end

    @property
    def sources(self) -> list[str]:
        """The directories that were read, in order; column `source` counts them from 0."""
        return list(dict.fromkeys(step.source for step in self.steps))

    @property
    def wavelength(self) -> Float[np.ndarray, " pixel"]:
        return self.grid.wavelength

    def has(self, name: str) -> bool:
        """Whether any spectrum has something else than the fill value in this array or column."""
        return any(chunk_file(name, chunk) in files for chunk, files in self._files.items())

    def read(self, name: str, chunk: int, *, check: bool = True) -> np.ndarray:
        """One array or column of one chunk, its rows that are finished; text as an array of str.

        Raises SurveyError, naming the chunk, if a file is missing or its bytes are not those that were written.
        """
        if check:
            self.check(name, chunk)
        start, stop = chunk * self.chunk, min((chunk + 1) * self.chunk, self.n)
        try:
            if name not in self._arrays:
                self._arrays[name] = self._root[array_name(name)]
            values = self._arrays[name][start:stop]
        except Exception as err:  # a codec's own classes, reached only with check=False
            raise SurveyError(self._damaged(name, chunk, f"cannot be decoded ({type(err).__name__})")) from err
        if values.shape[0] != stop - start:
            raise SurveyError(self._damaged(name, chunk, f"has {values.shape[0]} rows"))
        return values.astype(object).astype(str) if COLUMNS.get(name) == "string" else values

    def check(self, name: str, chunk: int) -> None:
        """Compare the sha256 of one file with the journal. Raises SurveyError, naming the chunk."""
        file = chunk_file(name, chunk)
        expected = self._files[chunk].get(file)
        try:
            sha256 = hashlib.sha256((self.path / file).read_bytes()).hexdigest()
        except FileNotFoundError:
            sha256 = None
        except OSError as err:
            raise SurveyError(self._damaged(name, chunk, f"cannot be read ({err.strerror or err})")) from err
        if sha256 != expected:
            why = "is missing" if sha256 is None else "has another sha256 than the journal says"
            raise SurveyError(self._damaged(name, chunk, why))

    def _damaged(self, name: str, chunk: int, why: str) -> str:
        start, stop = chunk * self.chunk, min((chunk + 1) * self.chunk, self.n)
        return (
            f"{self.path}: chunk {chunk} of {name} (spectra {start}-{stop - 1}, file {chunk_file(name, chunk)}) {why}: "
            "restore this file from a copy, or ingest again into a new store."
        )

    def verify(self) -> list[str]:
        """A sentence for every chunk that is not as it was written; empty if all is well."""
        damage = []
        for chunk in range(self.n_chunk):
            for name in (*PIXELS, *COLUMNS):
                try:
                    self.check(name, chunk)
                except SurveyError as err:
                    damage.append(str(err))
        return damage

    def column(self, name: str) -> np.ndarray:
        """One column of the table, all spectra."""
        parts = [self.read(name, chunk) for chunk in range(self.n_chunk)]
        empty = np.empty(0, dtype=str if COLUMNS[name] == "string" else COLUMNS[name])
        return np.concatenate(parts) if parts else empty

    @cached_property
    def stars(self) -> np.ndarray:
        """The name of every spectrum's star: spectra within 3 arcsec of each other are of one."""
        if not self.n:
            return np.empty(0, str)
        ra, dec, path = (self.column(name).tolist() for name in ("ra", "dec", "path"))
        return group_stars(ra, dec, path)

    def table(self, columns: Sequence[str] | None = None) -> Table:
        """The table of all spectra, or some of its columns, with the column `star` if asked for or by default."""
        names = [*COLUMNS, "star"] if columns is None else list(columns)
        unknown = [name for name in names if name not in COLUMNS and name != "star"]
        if unknown:
            raise SurveyError(f"A store has no column {', '.join(unknown)}; it has: {', '.join(COLUMNS)}, star.")
        table = Table({name: self.stars if name == "star" else self.column(name) for name in names})
        _units(table)
        return table

    def chunk_table(self, chunk: int) -> Table:
        """The table of one chunk, with the column `star`."""
        table = Table({name: self.read(name, chunk) for name in COLUMNS})
        table["star"] = self.stars[chunk * self.chunk :][: len(table)]
        _units(table)
        return table

    @property
    def set_aside(self) -> Table:
        """The files left out: path, reason (a key of spectrum.REASONS), detail (a sentence), source.

        One row a file, with the latest reason; a file that was mended and taken later has none.
        """
        number = {source: i for i, source in enumerate(self.sources)}
        rows = {
            (number[step.source], path): (path, reason, detail, number[step.source])
            for step in self.steps
            for path, _, _, reason, detail in step.aside
        }
        if rows:
            for key in zip(self.column("source").tolist(), self.column("path").tolist(), strict=True):
                rows.pop(key, None)
        names, kinds = ("path", "reason", "detail", "source"), (str, str, str, int)
        return Table(rows=list(rows.values()) or None, names=names, dtype=kinds)


def _units(table: Table) -> None:
    for name in set(UNITS) & set(table.colnames):
        table[name].unit = UNITS[name]


def summary(path: Path | str) -> dict[str, Any]:
    """What a store holds, for people and as JSON: counts, grid, S/N histogram, releases, what was set aside.

    Reads a few columns and no pixel. Raises SurveyError for what is no store.
    """
    store = Store(path)
    columns = {name: store.column(name) for name in ("survey", "release", "snr", "class")}
    snr = columns["snr"]
    counts, _ = np.histogram(snr[np.isfinite(snr)], bins=[*SNR_EDGES, np.inf])
    aside = store.set_aside["reason"].tolist()
    wavelength = store.wavelength
    return {
        "spectra": store.n,
        "stars": len(set(store.stars)),
        "kind": store.kind,
        "complete": store.complete,
        "sources": store.sources,
        "grid": store.grid._asdict() | {"low": float(wavelength[0]), "high": float(wavelength[-1])},
        "chunks": store.n_chunk,
        "chunk_spectra": store.chunk,
        "bytes": sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file()),
        **{f"by_{name}": dict(sorted(Counter(columns[name].tolist()).items())) for name in columns if name != "snr"},
        "snr_median": float(np.nanmedian(snr)) if np.isfinite(snr).any() else None,
        "snr_histogram": [
            {"from": low, "to": high, "spectra": int(count)}
            for low, high, count in zip(SNR_EDGES, [*SNR_EDGES[1:], None], counts, strict=True)
        ],
        "snr_unknown": int(np.count_nonzero(~np.isfinite(snr))),
        "set_aside": len(aside),
        "set_aside_by_reason": dict(Counter(aside).most_common()),
    }
