"""Tables of other programs, opened by what they are: ECSV, FITS, VOTable, IPAC, VizieR's text, and plain text."""

import codecs
import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table
from astropy.utils.exceptions import AstropyWarning
from jaxtyping import Float

from astrogf.base import files, text_tables, units
from astrogf.base.errors import AstrogfError

KINDS = {"ecsv": "ascii.ecsv", "fits": "fits", "votable": "votable", "ipac": "ascii.ipac"}
"""What a table's first bytes say, and astropy's word for it."""
_LIMIT: dict[str, Any] = {"largest": 16 * 1024**3, "what": "a table"}
READABLE = (
    "an ECSV, FITS, VOTable or IPAC table, text with a line of column names (separated by commas, semicolons, tabs, "
    "pipes or blanks), or VizieR's text with its ReadMe in the same folder"
)


def kind_of(head: bytes) -> str | None:
    """One of `KINDS` that a file is by its first bytes (unpacked); None for text that does not say."""
    head = head[:200].removeprefix(codecs.BOM_UTF8).lstrip()
    if head.startswith(b"SIMPLE"):
        return "fits"
    if head.startswith((b"<?xml", b"<VOTABLE")):
        return "votable"
    if head.startswith(b"# %ECSV"):
        return "ecsv"
    return "ipac" if head.startswith((b"\\", b"|")) else None


def read_table(path: Path | str, *, arrays: bool = False, error: type[AstrogfError] = AstrogfError) -> Table:
    """A table, compressed (gzip, xz, bzip2) or not; columns keep names and units, text is str.

    Numbers of FITS and VOTable that are not there (NaN, null) are masked. Of FITS files the first table is read, by
    column, so that APOGEE's allStar fits in memory; columns of arrays are left out unless `arrays`.
    Raises `error`, with one sentence, for what cannot be read.
    """
    path = Path(path)
    if not os.path.lexists(path):
        raise error(f"{path} cannot be read: there is no such file.")
    if said := files.obstacle(path):
        raise error(f"{path} {said}: give a table.")
    kind = kind_of(files.beginning_of(path))
    readme = path.parent / "ReadMe"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # units and UCDs that astropy does not know
            if kind == "fits":
                return _read_fits(path, arrays, error)
            if kind is None and not path.name.lower().endswith(".csv") and _described(path, readme):
                table = Table.read(path, format="ascii.cds", readme=str(readme))
            else:
                content = files.read_bytes(path, **_LIMIT, error=error).removeprefix(codecs.BOM_UTF8)
                if kind is None or (kind == "ipac" and text_tables.has_pipes(content)):
                    return text_tables.parse(content, path, READABLE, error)
                encoding = {} if kind == "votable" else {"encoding": "utf-8"}
                table = Table.read(io.BytesIO(content), format=KINDS[kind], **encoding)
    except AstrogfError:
        raise
    except Exception as err:  # each format has errors of its own
        said = (str(err).strip().splitlines() or [type(err).__name__])[0]
        raise error(f"{path} cannot be read as a table ({kind or 'text'}): {said}") from err
    table.convert_bytestring_to_unicode()
    return table


def _described(path: Path, readme: Path) -> bool:
    """Whether VizieR's ReadMe beside a file speaks of it."""
    name = path.name.lower().removesuffix(".gz").removesuffix(".xz").removesuffix(".bz2")
    return readme.is_file() and name in readme.read_text(encoding="utf-8", errors="replace").lower()


def _read_fits(path: Path, arrays: bool, error: type[AstrogfError]) -> Table:
    """The first table of a FITS file; one that is not compressed is mapped into memory."""
    # unpacked here and not by astropy, which takes a gzip file that is cut short for one with fewer blocks
    packed = files.packing_of(path) is not None
    source = io.BytesIO(files.read_bytes(path, **_LIMIT, error=error)) if packed else path
    with fits.open(source, memmap=not packed) as hdus:
        hdu = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)), None)
        if hdu is None:
            raise error(f"{path} holds no table.")
        if hdu.header.get("ZTABLE"):
            raise error(f"{path} is a table under tile compression (fpack), which is not read: use funpack first.")
        out = Table()
        for number, column in enumerate(hdu.columns, start=1):
            values = hdu.data[column.name]
            if values.dtype.kind == "O" or (values.ndim > 1 and not arrays):
                continue
            # text is padded with blanks, and bytes from the file are big-endian
            values = np.char.strip(values) if values.dtype.kind in "SU" else values
            values = np.array(values, dtype=values.dtype.newbyteorder("="))
            about: dict[str, Any] = {"description": hdu.header.get(f"TCOMM{number}")}
            if column.unit:
                about["unit"] = u.Unit(column.unit, parse_strict="silent")
            absent = _absent(values, column)
            out[column.name] = MaskedColumn(values, mask=absent, **about) if absent.any() else Column(values, **about)
    return out


def _absent(values: np.ndarray, column: fits.Column) -> np.ndarray:
    if values.dtype.kind in "fc":
        return np.isnan(values)
    if values.dtype.kind in "iu" and column.null not in (None, "") and not column.bzero:
        return values == column.null
    return np.zeros(values.shape, bool)


def numbers(
    table: Table, name: str, *, where: Path | str = "the table", error: type[AstrogfError] = AstrogfError
) -> Float[np.ndarray, " row"]:
    """A column as float64, NaN where it is masked; in a column of text, where it says 'null' and the like.

    Raises `error` where it holds something else; `where` names the table.
    """
    column = np.ma.asarray(table[name])
    if column.dtype.kind in "USO":
        words = np.ma.filled(column.astype("U"), "")
        try:
            return np.array([text_tables.number(word) for word in words.ravel()]).reshape(words.shape)
        except ValueError as err:
            raise error(f"{where}: column {name} does not hold numbers: {err}.") from err
    try:
        return np.ma.filled(column.astype(np.float64), np.nan)
    except (TypeError, ValueError) as err:
        raise error(f"{where}: column {name} does not hold numbers ({err}).") from err


def quantity(
    table: Table,
    name: str,
    unit: u.UnitBase,
    *,
    where: Path | str = "the table",
    error: type[AstrogfError] = AstrogfError,
) -> Float[np.ndarray, " row"]:
    """As `numbers`, in `unit`; a column that names no unit, or a mere number, is taken to be in it already.

    Energies may be given as wavenumbers (1/cm) and the like. Raises `error` for a unit of something else.
    """
    values, given = numbers(table, name, where=where, error=error), table[name].unit
    if isinstance(given, u.UnrecognizedUnit):
        given = units.in_words(str(given)) or given
    if given is None or given == u.dimensionless_unscaled or given == unit:
        return values
    try:
        return u.Quantity(values, given).to_value(unit, equivalencies=u.spectral())
    except (u.UnitConversionError, ValueError, TypeError) as err:
        meant = units.in_words(str(given))  # astropy takes 'deg K' for a product
        if meant is not None and meant.is_equivalent(unit):
            return u.Quantity(values, meant).to_value(unit)
        raise error(f"{where}: column {name} is in {given}, not convertible to {unit}: correct its unit.") from err
