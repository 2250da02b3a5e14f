"""What a file is that is neither FITS nor numbers: by its first bytes, as the end of a sentence."""

import re

_MAGIC = {
    b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"GIF8": "a GIF picture", b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive", b"Rar!": "a RAR archive", b"7z\xbc\xaf": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard file", b"\x1f\x9d": "a file of `compress`", b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array", b"SQLite format": "an SQLite database", b"%!PS": "a PostScript document",
}  # fmt: skip
_SERVERS = "the server sent it in place of the file (an error, or a page to log in on); fetch the file again"
_MARKUP = re.compile(r"\s+|<\?xml.*?\?>|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_PAGE = re.compile(r"<(!doctype\s+html|html|head|body|title|meta|script|center|h1|div|p|link|style|form|br)\b")


def not_a_spectrum(plain: bytes) -> str:
    """What a sentence says of unpacked bytes that do not begin as FITS: "is a web page, not a spectrum: ..."."""
    found = next((what for magic, what in _MAGIC.items() if plain.startswith(magic)), "")
    if not found and plain[257:262] == b"ustar":
        found = "a tar archive"
    if found:
        return f"is {found}, not a spectrum: take it out of the directory."
    text = as_text(plain[:16384])
    if text is None:
        return f"is not a FITS file: it starts with {plain[:9]!r} where b'SIMPLE  =' was expected."
    words = " ".join(text.split())[:60]
    start = _after_prologue(text).lower()
    if _PAGE.match(start) or "<html" in start[:2000]:
        return f"is a web page, not a spectrum: {_SERVERS}."
    if start.startswith("<"):
        if "<votable" in start:
            return "is a VOTable, not a spectrum that is read: save it as FITS or text."
        return f"is an XML document ({words!r}), not a spectrum: {_SERVERS}."
    if start.startswith(("{", "[")):
        return f"is a JSON document ({words!r}), not a spectrum: {_SERVERS}."
    if start.startswith("version https://git-lfs"):
        return "is a Git LFS pointer, not a spectrum: the spectrum itself was never downloaded (git lfs pull)."
    if start.startswith("http/"):
        return f"is an answer of a web server ({words!r}), not a spectrum: fetch the file again."
    return f"is text ({words!r}), not a FITS file, and not a table of numbers: fetch it again, or take it out."


def as_text(plain: bytes) -> str | None:
    """Bytes as text (UTF-8, UTF-16 with its mark, else Latin-1); None where they are none."""
    if plain.startswith((b"\xff\xfe", b"\xfe\xff")):
        return plain.decode("utf-16", errors="replace")
    if b"\0" in plain[:16384]:
        return None
    try:
        text = plain.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = plain.decode("latin-1")
    odd = sum(not (c.isprintable() or c.isspace()) for c in text[:4096])
    return None if odd > 0.05 * min(len(text), 4096) else text


def _after_prologue(text: str) -> str:
    """The text from behind a byte-order mark, blanks, declarations and comments of XML."""
    text, at = text.lstrip("\ufeff"), 0
    while match := _MARKUP.match(text, at):
        at = match.end()
    return text[at:]
