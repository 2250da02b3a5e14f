"""500 spoiled files, seeded: a sentence, or pixels that are those of the good file. No crash, no hang.

What can be known. With CHECKSUM and DATASUM (FITS standard, appendix J), as simulated files, DR19's mwmStar and many
archives have them, every flipped bit is seen, and of several all but those that cancel in the sum (the same bit of
two words, one up and one down: 3 of 2,500 files with 1 to 4 flips). gzip's own checksum does the same for compressed
files. Without either, a changed flux, error or mask of a single pixel cannot be told from a measured one unless it is
absurd (a hundred times its surroundings), nor can a changed RA, velocity or S/N in a header. What still must hold
then, and is tested: the wavelength of no pixel is wrong, and no more pixels differ than bits were flipped (in apVisit,
whose pixels are shared between two or three of the grid's, three times as many).
"""

import gzip
import signal
import time
from collections import Counter

import numpy as np
import pytest

from astrogf.surveys.formats.readers import parse, read
from astrogf.surveys.spectrum import REASONS, SurveyError
from tests.builders.corruption import bare, flipped, nonsense, templates, truncated

SECONDS = 5.0  # of the processor for one file; the usual is 0.02
PATIENCE = 120  # seconds on the clock, on a machine that does other things, before a reader counts as hanging


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Name -> (bytes, pieces) of a good file of every layout."""
    files = templates(tmp_path_factory.mktemp("good"))
    return {name: (path.read_bytes(), read(path)) for name, path in files.items()}


@pytest.fixture(autouse=True)
def alarm():
    """A reader that hangs ends the test instead of the machine's patience (outcome sets the clock)."""

    def ring(*_):
        raise TimeoutError(f"a reader took longer than {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def outcome(raw, path):
    """The pieces, or None where the file is refused in the proper way."""
    began = time.process_time()
    pieces, error = None, None
    signal.alarm(PATIENCE)
    try:
        pieces = parse(raw, path, "")
    except SurveyError as err:
        error = err
    signal.alarm(0)
    assert time.process_time() - began < SECONDS
    if error is not None:
        assert error.reason in REASONS
        assert len(str(error).split()) >= 6
        assert str(path) in str(error)
    return pieces


def wrong_pixels(pieces, originals):
    """How many accepted pixels are not those of the good file at the same wavelength."""
    wrong = 0
    for piece in pieces:
        if piece.frame == "observed":
            continue  # an apVisit that lost its barycentric correction says so; its pixels are another matter
        twin = next((o for o in originals if (o.kind, o.piece) == (piece.kind, piece.piece)), None)
        used = np.flatnonzero(piece.ivar > 0)
        if twin is None or twin.log_step != piece.log_step or twin.frame != piece.frame:
            wrong += used.size
            continue
        at = used + piece.first - twin.first
        inside = (at >= 0) & (at < len(twin.flux))
        wrong += int(np.sum(~inside))
        used, at = used[inside], at[inside]
        same = (piece.flux[used] == twin.flux[at]) & (piece.ivar[used] == twin.ivar[at])
        wrong += int(np.sum(~same))
    return wrong


def rounds(good, count, seed):
    """`count` times a layout in turn, with its own random numbers."""
    names = list(good)
    for i in range(count):
        name = names[i % len(names)]
        yield i, name, *good[name], np.random.default_rng([seed, i])


def test_good_files_are_accepted(good, tmp_path):
    for name, (raw, pieces) in good.items():
        assert wrong_pixels(outcome(raw, tmp_path / name), pieces) == 0
        assert sum(np.count_nonzero(p.ivar) for p in pieces) > 2000
        assert wrong_pixels(outcome(bare(raw), tmp_path / name), pieces) == 0


def test_130_files_with_flipped_bits_and_checksums(good, tmp_path):
    refused = 0
    for i, name, raw, pieces, rng in rounds(good, 130, 1):
        found = outcome(flipped(raw, rng, header=i % 3 == 0), tmp_path / name)
        refused += found is None
        assert found is None or wrong_pixels(found, pieces) == 0, (i, name)
    assert refused > 100  # the others were flipped in an unused first header


def test_two_flips_that_cancel_in_the_sum_are_its_blind_spot(good, tmp_path):
    """A one is moved from one float's last bit to another's: nobody can see it, and two pixels differ."""
    raw, pieces = good["lrs_dr8"]
    flux = 2880 * next(i for i in range(9) if raw[2880 * i :].find(b"END     ") < 2880) + 2880 + 4 * 1000
    last = np.frombuffer(raw, dtype=np.uint8)[flux + 3 : flux + 8000 : 4] & 1
    up, down = flux + 3 + 4 * int(np.argmax(last == 0)), flux + 3 + 4 * int(np.argmax(last == 1))
    moved = bytearray(raw)
    moved[up] ^= 1
    moved[down] ^= 1
    assert wrong_pixels(outcome(bytes(moved), tmp_path / "x"), pieces) == 2
    moved[up] ^= 1
    assert outcome(bytes(moved), tmp_path / "x") is None


def test_40_compressed_files_with_flipped_bits(good, tmp_path):
    for i, name, raw, pieces, rng in rounds(good, 40, 2):
        found = outcome(flipped(raw, rng, packed=True), tmp_path / name)
        assert found is None or wrong_pixels(found, pieces) == 0, (i, name)


def test_80_truncated_files(good, tmp_path):
    refused = 0
    for i, name, raw, pieces, rng in rounds(good, 80, 3):
        cut = truncated(raw, rng)
        found = outcome(cut, tmp_path / name)
        refused += found is None
        # cut between two blocks a file may be whole as far as it goes; what it holds is right
        assert found is None or wrong_pixels(found, pieces) == 0, (i, name)
    assert refused > 60


def test_150_files_that_say_something_impossible(good, tmp_path):
    """Checksums are right here, so that only sense can refuse them."""
    kinds = Counter()
    refused = 0
    for i, name, raw, pieces, rng in rounds(good, 150, 4):
        what, spoiled = nonsense(raw, rng)
        kinds[what] += 1
        found = outcome(gzip.compress(spoiled) if i % 5 == 0 else spoiled, tmp_path / name)
        refused += found is None
        if found is not None and what not in UNKNOWABLE:
            assert wrong_pixels(found, pieces) == 0, (i, name, what)
    assert len(kinds) >= 15
    assert refused > 45  # the others changed a block, column or card that no pixel hangs on


UNKNOWABLE = {
    # fluxes rounded to whole numbers are fluxes; an error image of ones is an error image
    "an image of integers",
}


def test_100_files_with_flipped_bits_and_no_checksum(good, tmp_path):
    """The boundary of what can be known, see above."""
    differing = 0
    for i, name, raw, pieces, rng in rounds(good, 100, 5):
        found = outcome(flipped(bare(raw), rng, header=i % 2 == 0), tmp_path / name)
        if found is None:
            continue
        wrong = wrong_pixels(found, pieces)
        differing += wrong > 0
        assert wrong <= 4 * (3 if name == "apvisit" else 1), (i, name, wrong)
    assert differing > 5  # undetectable ones exist: the bound above is no empty claim
