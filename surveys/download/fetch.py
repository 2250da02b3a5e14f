"""Public survey files from the network to a folder: resumed, checked, recorded; what failed gets a sentence."""

import hashlib
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.surveys.download.addresses import Target
from astrogf.surveys.formats.fitsfile import open_fits
from astrogf.surveys.spectrum import SurveyError

MANIFEST = "fetched.jsonl"
FAILED = "failed.ecsv"

REASONS = {
    "not_found": "no such file at any of its addresses",
    "refused": "the server wants a login or forbids the file",
    "network": "the connection failed, every time it was tried",
    "server": "the server failed, every time it was tried",
    "checksum": "not the bytes that the checksum given stands for",
    "damaged": "not a whole FITS file",
}
"""The fixed codes of the table of failures."""

_HASHES = {32: hashlib.md5, 40: hashlib.sha1, 64: hashlib.sha256}
_BLOCK = 1 << 18


class FetchError(AstrogfError):
    """Why a file could not be had: a sentence, a key of REASONS, and whether to try again."""

    def __init__(self, sentence: str, reason: str, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(sentence, reason)
        self.again, self.wait = again, wait


@dataclass(frozen=True)
class Fetched:
    """`files`: one row a file that is there: identifier, name, url, bytes, sha256, new (False: it was there).

    `failed`: one row a file that is not: identifier, name, url, reason (a key of REASONS), detail (a sentence).
    """

    files: Table
    failed: Table


def fetch(
    wanted: Sequence[Target],
    folder: Path | str,
    *,
    checksums: Mapping[str, str] | None = None,
    tries: int = 4,
    pause: float = 2.0,
    timeout: float = 60.0,
    workers: int = 4,
    token: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Fetched:
    """Download files into `folder`; a file that is there already, as the manifest says, is not fetched again.

    checksums: name -> md5, sha1 or sha256 in hexadecimal, told by its length. tries: for each address; between two
    tries `pause` seconds, doubled each time, or what the server asks for up to a minute. token: LAMOST's, for
    releases that are not public yet. A file is complete or absent: it grows under another name, goes on from where
    it broke off if the server can prove that it is still the same file, and is moved into place when its length,
    its FITS blocks and its checksum are right. fetched.jsonl in the folder records url, length and sha256 of each;
    failed.ecsv what failed this time. Raises SurveyError if the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        records = _manifest(folder)
    except OSError as err:
        raise SurveyError(f"{folder} cannot be used as a folder ({err.strerror or err}).") from err
    lock, done = threading.Lock(), 0

    def one(target: Target) -> tuple[Target, dict | None, tuple[str, str, str] | None]:
        nonlocal done
        row: dict[str, Any] | None = None
        failure: tuple[str, str, str] | None = None
        try:
            expected = (checksums or {}).get(target.name, "").lower()
            row = _there(folder, target, records.get(target.name), expected)
            if row is None:
                row = _obtain(folder, target, expected, tries, pause, timeout, token)
                with lock:
                    _record(folder, row)
                row |= {"new": True}
        except FetchError as err:
            failure = (target.urls[-1], err.reason, str(err))
        with lock:
            done += 1
            if progress is not None:
                progress(done, len(wanted))
        return target, row, failure

    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        results = list(pool.map(one, wanted))
    files = [
        (t.identifier, *(row[k] for k in ("name", "url", "bytes", "sha256", "new"))) for t, row, _ in results if row
    ]
    failed = [(t.identifier, t.name, *why) for t, _, why in results if why]
    out = Fetched(
        Table(
            rows=files or None,
            names=("identifier", "name", "url", "bytes", "sha256", "new"),
            dtype=(str, str, str, int, str, bool),
        ),
        Table(rows=failed or None, names=("identifier", "name", "url", "reason", "detail"), dtype=(str,) * 5),
    )
    out.failed.write(folder / FAILED, format="ascii.ecsv", overwrite=True)
    return out


def read_checksums(path: Path | str) -> dict[str, str]:
    """name -> checksum from a file as sha256sum, sha1sum or md5sum write it, such as SDSS's *.sha1sum.

    Raises SurveyError for a line that is none.
    """
    out = {}
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise SurveyError(f"{path} cannot be read as a list of checksums: {err}.") from err
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            digest, _, name = line.strip().partition(" ")
            name = name.strip().lstrip("*").rsplit("/", 1)[-1]
            if len(digest) not in _HASHES or not name or set(digest.lower()) - set("0123456789abcdef"):
                raise SurveyError(f"{path}, line {number}: a checksum and a file's name are expected, not {line!r}.")
            out[name] = digest.lower()
    return out


def _manifest(folder: Path) -> dict[str, dict]:
    """The last record of every file; a line that a kill cut off is passed over."""
    out = {}
    path = folder / MANIFEST
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            out[row["name"]] = row
        except (ValueError, KeyError, TypeError):
            continue
    return out


def _record(folder: Path, row: dict) -> None:
    path = folder / MANIFEST
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(row, sort_keys=True).encode() + b"\n")


def _there(folder: Path, target: Target, row: dict | None, expected: str) -> dict | None:
    """The manifest's record if the file is there with those bytes."""
    path = folder / target.name
    if row is None or not path.is_file() or path.stat().st_size != row["bytes"]:
        return None
    raw = path.read_bytes()
    if hashlib.sha256(raw).hexdigest() != row["sha256"]:
        return None
    if expected and _HASHES[len(expected)](raw).hexdigest() != expected:
        return None
    return {**row, "new": False}


def _obtain(
    folder: Path, target: Target, expected: str, tries: int, pause: float, timeout: float, token: str
) -> dict[str, Any]:
    """Try the addresses in turn; a file that one of them does not have may be at the next."""
    last: FetchError | None = None
    for url in target.urls:
        for attempt in range(tries):
            try:
                return _download(folder, target.name, url, expected, timeout, token)
            except FetchError as err:
                last = err
                if not err.again:
                    break
                if attempt + 1 < tries:
                    time.sleep(min(max(pause * 2**attempt, err.wait), 60.0))
        if last is not None and last.reason not in ("not_found", "refused"):
            break
    assert last is not None
    raise last


def _download(folder: Path, name: str, url: str, expected: str, timeout: float, token: str) -> dict[str, Any]:
    part, about = folder / f".{name}.part", folder / f".{name}.part.json"
    have, mark = 0, _mark(about, url)
    if part.exists():
        if mark:
            have = part.stat().st_size
        else:
            part.unlink()
    headers = {"User-Agent": "astrogf", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": mark}
    request = urllib.request.Request(url + (f"?token={token}" if token else ""), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            start = _begin(reply, have, url)
            total = _length(reply, start)
            new_mark = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
            if new_mark.startswith("W/"):  # a weak one does not promise the same bytes
                new_mark = ""
            about.write_text(json.dumps({"url": url, "mark": new_mark}))
            with open(part, "r+b" if start else "wb") as file:
                file.seek(start)
                file.truncate()
                for block in _blocks(reply):
                    file.write(block)
    except FetchError:
        raise
    except urllib.error.HTTPError as err:
        err.close()
        if err.code == 416:  # nothing beyond what is there: what is there is not that file
            part.unlink(missing_ok=True)
        raise _http_error(err, url) from err
    except (OSError, http.client.HTTPException) as err:  # URLError is an OSError
        why = getattr(err, "reason", None) or err
        raise FetchError(f"{url} broke off ({type(err).__name__}: {why}).", "network", again=True) from err
    size = part.stat().st_size
    if total is not None and size != total:
        if size > total:
            part.unlink()
        raise FetchError(f"{url} broke off after {size} of {total} bytes.", "network", again=True)
    raw = part.read_bytes()
    try:
        _check(raw, name, url, expected)
    except FetchError:
        part.unlink()
        about.unlink(missing_ok=True)
        raise
    part.replace(folder / name)
    about.unlink(missing_ok=True)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"name": name, "url": url, "bytes": size, "sha256": hashlib.sha256(raw).hexdigest(), "fetched": when}


def _mark(about: Path, url: str) -> str:
    """What the server said to know the file again by, if the half-fetched one is from this address."""
    try:
        told = json.loads(about.read_text())
        return str(told["mark"]) if told["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _begin(reply: Any, have: int, url: str) -> int:
    """The byte at which the reply starts."""
    if reply.status != 206:
        return 0
    span = reply.headers.get("Content-Range", "")
    start = span.removeprefix("bytes ").partition("-")[0]
    if not start.isdigit() or int(start) != have:
        raise FetchError(f"{url} was asked for from byte {have} on and answered with {span!r}.", "server", again=True)
    return have


def _length(reply: Any, start: int) -> int | None:
    length = reply.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _blocks(reply: Any) -> Iterator[bytes]:
    while block := reply.read(_BLOCK):
        yield block


def _http_error(err: urllib.error.HTTPError, url: str) -> FetchError:
    if err.code in (404, 410):
        return FetchError(f"{url} does not exist (HTTP {err.code}): check identifier and release.", "not_found")
    if err.code in (401, 403, 407):
        return FetchError(
            f"{url} is not open (HTTP {err.code}): the release may not be public, or wants a token.", "refused"
        )
    again = err.code in (408, 416, 425, 429) or err.code >= 500
    wait = err.headers.get("Retry-After", "") if err.headers else ""
    sentence = f"{url} was answered with HTTP {err.code} ({err.reason})."
    return FetchError(sentence, "server", again, float(wait) if wait.isdigit() else 0.0)


def _check(raw: bytes, name: str, url: str, expected: str) -> None:
    if expected:
        digest = _HASHES[len(expected)](raw).hexdigest()
        if digest != expected:
            raise FetchError(
                f"{url} has the checksum {digest}, and {expected} was given for {name}: one of them is of another "
                "version of the file.",
                "checksum",
            )
    try:
        open_fits(raw, Path(name)).close()
    except SurveyError as err:
        raise FetchError(f"What came from {url} is no whole FITS file: {err}", "damaged") from err
