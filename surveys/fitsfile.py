"""From a path to opened FITS blocks whose bytes are all there; everything else is a sentence."""

import hashlib
import io
import warnings
import zlib
from pathlib import Path

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from surveys.spectrum import SurveyError

FITS_MAGIC = b"SIMPLE  ="
GZIP_MAGIC = b"\x1f\x8b"
# A compressed survey spectrum unpacks to well under this; a forged or damaged one shall not eat the memory.
LARGEST = 256 * 1024**2

_OTHER = {b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"%PDF": "a PDF document"} | {
    b"PK\x03\x04": "a ZIP archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"<!DO": "a web page",
    b"<htm": "a web page",
    b"version https://git-lfs": "a Git LFS pointer, the spectrum itself was never downloaded",
}


def looks_like_fits(path: Path) -> bool:
    """Whether the name or the first bytes promise a FITS file: what a directory is searched for."""
    name = path.name.lower()
    if name.removesuffix(".gz").endswith((".fits", ".fit", ".fts")):
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError:
        return False
    if head.startswith(GZIP_MAGIC):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 80)
        except zlib.error:
            return False
    return head.startswith(FITS_MAGIC)


def read_bytes(path: Path) -> tuple[bytes, str]:
    """The file's bytes as they lie on disk and their sha256. Raises SurveyError."""
    try:
        if path.stat().st_size > LARGEST:
            raise SurveyError(f"{path} has {path.stat().st_size / 1e6:.0f} MB, too much for a survey spectrum.")
        raw = path.read_bytes()
    except OSError as err:
        raise SurveyError(
            f"{path} cannot be read ({err.strerror or err}): check that it exists and its permissions."
        ) from err
    return raw, hashlib.sha256(raw).hexdigest()


def open_fits(raw: bytes, path: Path) -> fits.HDUList:
    """The blocks of a FITS file given as bytes, plain or gzipped. `path` is only for the message.

    Refuses what is empty, not FITS, damaged (gzip's own checksum) or shorter than its headers promise, before
    any array is made of it: astropy alone would hand out the bytes of a truncated file with a warning.
    Raises SurveyError.
    """
    raw = _unpack(raw, path)
    try:
        with warnings.catch_warnings():
            # A damaged card that matters is found where it is used; a harmless one is no reason to refuse.
            warnings.simplefilter("ignore", AstropyWarning)
            hdus = fits.open(io.BytesIO(raw), memmap=False, lazy_load_hdus=False)
            sizes = [(hdu.fileinfo()["datLoc"] + hdu.size, hdu.name) for hdu in hdus]
    except Exception as err:
        raise SurveyError(f"{path} is a damaged FITS file ({_first_line(err)}): fetch it again.") from err
    for end, name in sizes:
        if end > len(raw):
            raise SurveyError(
                f"{path} is cut short: block {name or 'PRIMARY'} should end at byte {end}, the file has "
                f"{len(raw)}. Fetch it again."
            )
    return hdus


def _unpack(raw: bytes, path: Path) -> bytes:
    if not raw:
        raise SurveyError(f"{path} is empty (0 bytes): fetch it again.")
    if raw.startswith(GZIP_MAGIC):
        unpacker = zlib.decompressobj(wbits=31)  # 31: gzip header and checksum
        try:
            raw = unpacker.decompress(raw, LARGEST)
        except zlib.error as err:
            raise SurveyError(f"{path} is a damaged gzip file ({err}): fetch it again.") from err
        if len(raw) >= LARGEST:
            raise SurveyError(f"{path} unpacks to over {LARGEST / 1e6:.0f} MB, too much for a survey spectrum.")
        if not unpacker.eof:
            raise SurveyError(f"{path} is a gzip file that is cut short: fetch it again.")
    if not raw.startswith(FITS_MAGIC):
        for magic, what in _OTHER.items():
            if raw.startswith(magic):
                raise SurveyError(f"{path} is {what}, not a FITS file: take it out of the directory.")
        raise SurveyError(f"{path} is not a FITS file: it starts with {raw[:9]!r} where {FITS_MAGIC!r} was expected.")
    return raw


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]
