"""From a path to opened FITS blocks whose bytes are all there; everything else is a sentence."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from astrogf.base import files
from astrogf.base.constants import C_KMS
from astrogf.surveys.formats.other import not_a_spectrum
from astrogf.surveys.spectrum import SurveyError

FITS_MAGIC = b"SIMPLE  ="
# A compressed survey spectrum unpacks to well under this; a forged or damaged one shall not eat the memory.
LARGEST = 256 * 1024**2
WHAT = "a survey spectrum"
_BLOCK = 2880
SUMS = ("CHECKSUM", "DATASUM")
_PACKED = (".gz", ".fz", ".bz2", ".xz", ".z", ".zst", ".zip")
# cards of a first block that says nothing itself: what fpack and astropy put before a compressed image
_STRUCTURE = {
    "SIMPLE",
    "BITPIX",
    "NAXIS",
    "EXTEND",
    "COMMENT",
    "HISTORY",
    "",
    "DATE",
    "CHECKSUM",
    "DATASUM",
    "LONGSTRN",
}


def looks_like_fits(path: Path) -> bool:
    """Whether the name or the first bytes promise a FITS file: what a directory is searched for."""
    name = path.name.lower()
    plain = name.removesuffix(next((end for end in _PACKED if name.endswith(end)), ""))
    return plain.endswith((".fits", ".fit", ".fts")) or files.beginning_of(path).startswith(FITS_MAGIC)


def read_bytes(path: Path) -> tuple[bytes, str]:
    """The file's bytes as they lie on disk and their sha256. Raises SurveyError."""
    raw = files.read_packed(path, largest=LARGEST, what=WHAT, error=SurveyError)
    return raw, hashlib.sha256(raw).hexdigest()


def unpacked(raw: bytes, path: Path) -> bytes:
    """The bytes of a file, unpacked (gzip, xz, bzip2). Raises SurveyError where they are damaged, or none at all."""
    plain = files.unpacked(raw, path, largest=LARGEST, what=WHAT, error=SurveyError)
    if not plain:
        packed = "" if plain is raw or not raw else ", unpacked"
        raise SurveyError(f"{path} is empty (0 bytes{packed}): fetch it again.")
    return plain


def is_fits(plain: bytes) -> bool:
    """Whether unpacked bytes begin as a FITS file does."""
    return plain.startswith(FITS_MAGIC)


def open_fits(raw: bytes, path: Path, *, sums: bool = True) -> fits.HDUList:
    """The blocks of a FITS file given as bytes, compressed or not. `path` is only for the message.

    Refuses what is empty, not FITS, damaged (gzip's own checksum) or shorter than its headers promise, before
    any array is made of it: astropy alone would hand out the bytes of a truncated file with a warning. Tile-compressed
    images (fpack) are images, the first of them in the first block if that is empty; tile-compressed tables are
    refused. `sums`: hold CHECKSUM and DATASUM of every block that has data against the bytes; off for files that other
    programs have edited and left with the sums of before. Raises SurveyError.
    """
    hdus, faults = _opened(unpacked(raw, path), path)
    if sums and faults:
        raise next(iter(faults.values()))
    return hdus


@contextmanager
def blocks(raw: bytes, path: Path) -> Iterator[fits.HDUList]:
    """As `open_fits`, but a block with a wrong sum is refused only where the body has read its data.

    Whatever the body raises gives way to that: a damaged block explains what a reader stumbled upon.
    """
    hdus, faults = _opened(unpacked(raw, path), path)
    with hdus:
        try:
            yield hdus
        finally:
            # astropy keeps a block's data in its __dict__ once they have been asked for
            for i, fault in faults.items():
                if i >= len(hdus) or i == 0 or "data" in vars(hdus[i]):
                    raise fault


def _opened(raw: bytes, path: Path) -> tuple[fits.HDUList, dict[int, SurveyError]]:
    """The blocks, and by number what is wrong with the sums of those that have data."""
    if not is_fits(raw):
        raise SurveyError(f"{path} {not_a_spectrum(raw)}")
    try:
        with warnings.catch_warnings():
            # A damaged card that matters is found where it is used; a harmless one is no reason to refuse.
            warnings.simplefilter("ignore", AstropyWarning)
            options: dict[str, Any] = {"memmap": False, "lazy_load_hdus": False}
            hdus = fits.open(io.BytesIO(raw), disable_image_compression=True, **options)
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
    # nothing hangs on the sums of a block without data: astropy adds EXTEND to a first one after they were taken
    found = {i: _wrong_sum(hdu, start, raw, path) for i, (hdu, start) in enumerate(zip(hdus, starts, strict=True))}
    faults = {i: fault for i, fault in found.items() if fault is not None}
    if any(hdu.header.get("ZIMAGE") or hdu.header.get("ZTABLE") for hdu in hdus[1:]):
        if faults:
            raise next(iter(faults.values()))
        hdus.close()
        hdus = _uncompressed(raw, path, [hdu.header for hdu in hdus], options)
    return hdus, faults


def _uncompressed(raw: bytes, path: Path, headers: list[fits.Header], options: dict[str, Any]) -> fits.HDUList:
    """The blocks of a file with tile-compressed images, as they were before. Raises SurveyError."""
    advice = "unpack the file with funpack (of CFITSIO) and give the result."
    for header in headers:
        name = text(header, "EXTNAME") or "unnamed"
        if header.get("ZTABLE"):
            raise SurveyError(
                f"{path}: block {name} is a table under tile compression (fpack), which is not read: {advice}"
            )
        sides = [number(header, f"ZNAXIS{i + 1}") for i in range(int(within(number(header, "ZNAXIS"), 0, 9, 0)))]
        if header.get("ZIMAGE") and not np.prod(sides) * abs(number(header, "ZBITPIX")) / 8 <= LARGEST:
            raise SurveyError(
                f"{path}: block {name}, an image under tile compression (fpack), unpacks to over "
                f"{LARGEST / 1e6:.0f} MB or does not say its size, too much for {WHAT}."
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            hdus = fits.open(io.BytesIO(raw), **options)
            for hdu in hdus:
                if isinstance(hdu, fits.CompImageHDU):
                    _ = hdu.data
            if hdus[0].header.get("NAXIS") == 0 and {c.keyword for c in hdus[0].header.cards} <= _STRUCTURE:
                first = hdus[1]
                if isinstance(first, fits.CompImageHDU):
                    hdus = fits.HDUList([fits.PrimaryHDU(first.data, first.header), *hdus[2:]])
    except Exception as err:
        raise SurveyError(
            f"{path} is under tile compression (fpack) that cannot be undone ({_first_line(err)}): {advice}"
        ) from err
    return hdus


def _wrong_sum(hdu: fits.hdu.base._BaseHDU, start: int, raw: bytes, path: Path) -> SurveyError | None:
    """CHECKSUM and DATASUM, where a block with data has them, against its bytes (FITS standard 4.0, appendix J)."""
    stated = {key: text(hdu.header, key) for key in SUMS}
    if not hdu.size or not any(stated.values()):
        return None
    name = hdu.name or "PRIMARY"
    data = hdu.fileinfo()["datLoc"]
    end = min(data + -(-hdu.size // _BLOCK) * _BLOCK, len(raw))
    # a sum of 0 over data is what a header of before the data came says: undefined
    if stated["DATASUM"] not in ("", "0") and stated["DATASUM"] != str(_ones_sum(raw[data:end])):
        return SurveyError(
            f"{path}: the data of block {name} differ from its DATASUM: damaged or edited; fetch it again."
        )
    # a block with the right CHECKSUM sums to minus zero, all bits set; a value of only zeros means undefined
    if stated["CHECKSUM"].strip("0") and _ones_sum(raw[start:end]) not in (0, 0xFFFFFFFF):
        return SurveyError(f"{path}: block {name} does not add up to its CHECKSUM: damaged or edited; fetch it again.")
    return None


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


LARGEST_SNR = 1e4
"""S/N a pixel above which a header's cannot be right; surveys reach some hundreds."""
_FASTEST = 2000.0  # km/s: three times a star's velocity of escape from the Galaxy


def signal(value: float) -> float:
    """A header's S/N; NaN where it says none (-9999, -999) or is impossible, so that it is measured instead."""
    return within(value, 0.0, LARGEST_SNR)


def velocity(z: float, survey_class: str) -> float:
    """km/s of a header's redshift; NaN where there is none (-9999) or no star moves like that (galaxies may)."""
    limit = _FASTEST if survey_class.upper() in ("", "STAR") else 10.0 * C_KMS
    return within(z * C_KMS, -limit, limit)


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


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]
