"""A directory of very many files, put into a store of its own while a run lasts, so that they are read once."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from astrogf import surveys
from astrogf.base.kept import content_of, digest
from astrogf.surveys.directory.gather import LoadedSpectra, check_kind
from astrogf.surveys.directory.load import find_files
from astrogf.surveys.formats import readers
from astrogf.surveys.spectrum import SurveyError, SurveySpectrum
from astrogf.surveys.store.fill import ingest
from astrogf.surveys.store.load import load_store
from astrogf.surveys.store.store import GRIDS, PixelGrid

MANY = 2000
"""Files from which on a store is made: reading as many takes some ten seconds, and nobody minds doing it again."""
_STORE, _FROM = "spectra.zarr", "from.json"


def grid_of(kind: str) -> PixelGrid | None:
    """The grid on which all kinds of this name can be kept; None where they have none in common."""
    grids = [GRIDS[one] for one in readers.kinds_named(kind)]
    if len({grid.log_step for grid in grids}) > 1:
        return None
    first, end = min(g.first for g in grids), max(g.first + g.n_pixel for g in grids)
    return PixelGrid(first, grids[0].log_step, end - first)


def wanted(directory: Path, kind: str) -> bool:
    """Whether a directory is one to be put into a store first. Raises SurveyError as `find_files`."""
    return directory.is_dir() and grid_of(kind) is not None and len(find_files(directory)) >= MANY


def load_kept(
    directory: Path,
    windows: Sequence[tuple[float, float]],
    *,
    folder: Path,
    kinds: Sequence[str],
    say: Callable[[str], None] = lambda sentence: None,
    reading: Callable[[int, int], None] | None = None,
    **cuts: Any,
) -> LoadedSpectra:
    """What `directory.load.load_directory` gives, to the last bit, by way of a store in `folder`, which is made, or
    gone on with where it is of just these files (by their paths, sizes and times) and this code; it is made anew where
    it is not, or is damaged.

    `kinds`: one name of readers.KINDS or readers.ARMS. `reading(done, total)` is called after every file, `say` with a
    sentence for the user. `cuts`: as of `load_store`. Raises as that, and SurveyError where the directory holds no
    FITS file.
    """
    (kind,) = kinds
    grid = grid_of(kind)
    assert grid is not None
    files = find_files(directory)
    now = {"files": _named(files), "kind": kind, "code": content_of(Path(surveys.__file__ or "").parent)}
    before = _before(folder)
    if before == now:
        say(f"{len(files):,} files, as they were: read from the store that this run made of them, {folder / _STORE}")
    else:
        again = "have changed since this run put them into a store and are read again" if before else "are read once"
        say(f"{len(files):,} files {again}: into the store {folder / _STORE}, which goes when the run is finished")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / _FROM).write_text(json.dumps(now) + "\n", encoding="utf-8")

    def filled() -> LoadedSpectra:
        store = ingest(directory, folder / _STORE, grid, read=lambda path: of_kind(path, kind), progress=reading)
        return load_store(store.path, windows, kinds=kinds, directory=directory, **cuts)

    try:
        return filled()
    except SurveyError:
        if before != now:
            raise
    # what a crash of the machine left of the store is of no use, but the files are there
    shutil.rmtree(folder / _STORE, ignore_errors=True)
    return filled()


def of_kind(path: Path, kind: str) -> list[SurveySpectrum]:
    """The pieces of a file that are of a kind (or of those that a name stands for). Raises SurveyError for none."""
    named, found, fault = readers.kinds_named(kind), list[SurveySpectrum](), None
    for spectrum in readers.read(path):
        try:
            check_kind(spectrum, named, path)
            found.append(spectrum)
        except SurveyError as err:
            fault = fault or err
    if fault is not None and not found:
        raise fault
    return found


def _named(files: Sequence[Path]) -> str:
    """One name for these files as they are now."""

    def state(path: Path) -> tuple[str, int, int]:
        try:
            found = os.stat(path)
        except OSError:
            return str(path), -1, -1
        return str(path), found.st_size, found.st_mtime_ns

    return digest([state(path) for path in files])


def _before(folder: Path) -> dict[str, Any] | None:
    """What the store in a folder was made of; None where there is none."""
    try:
        return json.loads((folder / _FROM).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
