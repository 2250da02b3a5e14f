"""Which format a line list is in, from its content."""

from collections.abc import Callable
from pathlib import Path

from astrogf.base.errors import AstrogfError
from astrogf.base.tables import kind_of
from astrogf.synthesis.lineio import kurucz, moog, turbospectrum, vald
from astrogf.synthesis.lineio.records import UTF8
from astrogf.synthesis.lineio.words import ARGUMENTS, Words

FORMATS = ("vald", "kurucz", "turbospectrum", "moog", "gaia-eso", "ecsv")


def recognise(path: Path, content: bytes, words: Words = ARGUMENTS) -> str:
    """The one format of `FORMATS` that `content` can be in. Raises ValueError where none or several fit."""
    content = content.removeprefix(UTF8)
    if kind := kind_of(content):
        return "ecsv" if kind == "ecsv" and b"astrogf line list" in content[:4000] else "gaia-eso"
    text = [line.rstrip("\r") for line in content[:100_000].decode("latin-1").split("\n")]
    text = text[:-1] if len(content) > 100_000 else text  # the last line may be cut
    first = [line for line in text if line.strip() and not line.lstrip().startswith("#")][:60]
    fitting = []
    if vald.find_header(text) is not None:
        fitting.append("vald")
    if any(turbospectrum.HEADER.match(line) for line in first[:3]):
        fitting.append("turbospectrum")
    if _mostly(first, kurucz.fits):
        fitting.append("kurucz")
    data = moog.data_lines(text[:200])[1]
    if _mostly(data, moog.looks_like_data):
        fitting.append("moog")
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise AstrogfError(f"{path}: it can be read as {' and as '.join(fitting)}; {words.give('format', *fitting)}")
    if not first:
        raise AstrogfError(f"{path}: it holds no lines, only comments; give a line list")
    raise AstrogfError(f"{path}: not recognised as a line list; {words.give('format', *FORMATS)}")


def _mostly(lines: list[str], test: Callable[[str], bool]) -> bool:
    """Whether most lines pass; a short list may have a bad one, for the reader to name."""
    bad = sum(not test(line) for line in lines)
    return len(lines) > 0 and (bad < 0.2 * len(lines) or (bad == 1 and len(lines) > 2))
