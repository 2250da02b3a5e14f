"""From a path to opened FITS blocks whose bytes are all there; everything else is a sentence."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from astrogf.base import files
from astrogf.surveys.spectrum import SurveyError

FITS_MAGIC = b"SIMPLE  ="
# A compressed survey spectrum unpacks to well under this; a forged or damaged one shall not eat the memory.
LARGEST = 256 * 1024**2
WHAT = "a survey spectrum"
_BLOCK = 2880

_OTHER = {b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"%PDF": "a PDF document"} | {
    b"PK\x03\x04": "a ZIP archive",
    **{packing.magic: f"{packing.name} file" for packing in (files.BZIP2, files.XZ)},
    b"<!DO": "a web page",
    b"<htm": "a web page",
    b"version https://git-lfs": "a Git LFS pointer, the spectrum itself was never downloaded",
}


def looks_like_fits(path: Path) -> bool:
    """Whether the name or the first bytes promise a FITS file: what a directory is searched for."""
    name = path.name.lower()
    if name.removesuffix(".gz").endswith((".fits", ".fit", ".fts")):
        return True
    return files.packing_of(path) in (None, files.GZIP) and files.beginning_of(path).startswith(FITS_MAGIC)


def read_bytes(path: Path) -> tuple[bytes, str]:
    """The file's bytes as they lie on disk and their sha256. Raises SurveyError."""
    raw = files.read_packed(path, largest=LARGEST, what=WHAT, error=SurveyError)
    return raw, hashlib.sha256(raw).hexdigest()


def open_fits(raw: bytes, path: Path, *, sums: bool = True) -> fits.HDUList:
    """The blocks of a FITS file given as bytes, plain or gzipped. `path` is only for the message.

    Refuses what is empty, not FITS, damaged (gzip's own checksum) or shorter than its headers promise, before
    any array is made of it: astropy alone would hand out the bytes of a truncated file with a warning.
    `sums`: hold CHECKSUM and DATASUM against the bytes; off for files that other programs have edited and left with
    the sums of before. Raises SurveyError.
    """
    raw = _unpack(raw, path)
    try:
        with warnings.catch_warnings():
            # A damaged card that matters is found where it is used; a harmless one is no reason to refuse.
            warnings.simplefilter("ignore", AstropyWarning)
            hdus = fits.open(io.BytesIO(raw), memmap=False, lazy_load_hdus=False)
            sizes = [(hdu.fileinfo()["datLoc"] + hdu.size, hdu.name) for hdu in hdus]
            starts = [hdu.fileinfo()["hdrLoc"] for hdu in hdus]
    except Exception as err:
        raise SurveyError(f"{path} is a damaged FITS file ({_first_line(err)}): fetch it again.") from err
    for end, name in sizes:
        if end > len(raw):
            raise SurveyError(
                f"{path} is cut short: block {name or 'PRIMARY'} should end at byte {end}, the file has "
                f"{len(raw)}. Fetch it again."
            )
    for hdu, start in zip(hdus, starts, strict=True) if sums else ():
        _check_sums(hdu, start, raw, path)
    return hdus


def _check_sums(hdu: fits.hdu.base._BaseHDU, start: int, raw: bytes, path: Path) -> None:
    """Hold CHECKSUM and DATASUM, where a block has them, against its bytes (FITS standard 4.0, appendix J)."""
    stated = {key: text(hdu.header, key) for key in ("CHECKSUM", "DATASUM")}
    if not any(stated.values()):
        return
    name = hdu.name or "PRIMARY"
    data = hdu.fileinfo()["datLoc"]
    end = min(data + -(-hdu.size // _BLOCK) * _BLOCK, len(raw))
    # a sum of 0 over data is what a header of before the data came says: undefined
    if stated["DATASUM"] not in ("", "0") and stated["DATASUM"] != str(_ones_sum(raw[data:end])):
        raise SurveyError(
            f"{path}: the data of block {name} differ from its DATASUM: damaged or edited; fetch it again."
        )
    # A block with the right CHECKSUM sums to minus zero, all bits set; a value of only zeros means undefined. That of a
    # first block without data is let pass: astropy adds EXTEND to it after the sum was taken, and no pixel hangs on it.
    if hdu.size and stated["CHECKSUM"].strip("0") and _ones_sum(raw[start:end]) not in (0, 0xFFFFFFFF):
        raise SurveyError(f"{path}: block {name} does not add up to its CHECKSUM: damaged or edited; fetch it again.")


def _ones_sum(block: bytes) -> int:
    """The 32-bit ones'-complement sum of big-endian words."""
    words = np.frombuffer(block + bytes(-len(block) % 4), dtype=">u4")
    total = int(words.sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


@contextmanager
def fenced(path: Path, what: str) -> Iterator[None]:
    """Whatever a damaged file makes astropy or numpy raise becomes a SurveyError with a sentence."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except SurveyError:
        raise
    except Exception as err:
        raise SurveyError(
            f"{path} is a damaged {what} file ({type(err).__name__}: {_first_line(err)}): fetch it again."
        ) from err


def within(value: float, low: float, high: float, otherwise: float = np.nan) -> float:
    """The value if it lies where such a value can lie."""
    return value if low <= value <= high else otherwise


def text(header: fits.Header, key: str) -> str:
    """A header value as text; "" where it is absent or cannot be parsed."""
    try:
        value = header.get(key, "")
    except Exception:  # astropy raises VerifyError, and other things for worse cards
        return ""
    return "" if value is None or isinstance(value, fits.card.Undefined) else str(value).strip()


def number(header: fits.Header, key: str) -> float:
    """A header number; numbers that an old pipeline wrote as strings count, everything else (T and F too) is NaN."""
    try:
        value = header.get(key, np.nan)
        value = np.nan if isinstance(value, bool) else float(value)
    except Exception:
        return np.nan
    return np.nan if value == -9999 else value


def image(hdus: fits.HDUList, index: int, path: Path, what: str) -> np.ndarray:
    """The array of block `index` as float64, at least two-dimensional. Raises SurveyError where there is none."""
    data = hdus[index].data if index < len(hdus) and hdus[index].is_image else None
    if data is None:
        raise SurveyError(f"{path} has no image in block {index} ({what}): it is incomplete; fetch it again.")
    return np.atleast_2d(np.asarray(data))


def cell(table: fits.FITS_rec, name: str, row: int = 0):
    """A value of a FITS table by column name, case ignored; None where the column or the row is absent."""
    column = {n.upper(): n for n in table.names}.get(name.upper())
    return None if column is None or row >= len(table) else table[column][row]


def cell_number(table: fits.FITS_rec, name: str, row: int = 0) -> float:
    """As `cell`, a finite number or NaN; -9999 is NaN."""
    try:
        value = float(cell(table, name, row))
    except (TypeError, ValueError):
        return np.nan
    return value if np.isfinite(value) and value > -9999 else np.nan


def cell_text(table: fits.FITS_rec, name: str, row: int = 0) -> str:
    """As `cell`, stripped text or ""."""
    value = cell(table, name, row)
    return "" if value is None else str(np.ravel(value)[0] if np.size(value) else "").strip()


def _unpack(raw: bytes, path: Path) -> bytes:
    if not raw:
        raise SurveyError(f"{path} is empty (0 bytes): fetch it again.")
    if files.packing(raw) is files.GZIP:
        raw = files.unpacked(raw, path, largest=LARGEST, what=WHAT, error=SurveyError)
    if not raw.startswith(FITS_MAGIC):
        for magic, what in _OTHER.items():
            if raw.startswith(magic):
                raise SurveyError(f"{path} is {what}, not a FITS file: take it out of the directory.")
        raise SurveyError(f"{path} is not a FITS file: it starts with {raw[:9]!r} where {FITS_MAGIC!r} was expected.")
    return raw


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]
