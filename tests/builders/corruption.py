"""Files of every layout, and ways to spoil them."""

import gzip
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

from astrogf.surveys import simulate as s

SUMS = ("CHECKSUM", "DATASUM")
PLACE = {"ra": 150.25, "dec": -12.5}


def templates(folder: Path) -> dict[str, Path]:
    """Name -> a good file of each layout, with checksums."""
    rng = np.random.default_rng(0)

    def drawn(n):
        lines = (rng.random(n) < 0.05) * rng.random(n)
        return s.observe(700.0 * (1 - 0.5 * lines), 50.0, rng)[:2]

    chips = s.observe(np.full(3 * 4096, 500.0), 50.0, rng)
    visit = chips.flux.reshape(3, 4096), chips.ivar.reshape(3, 4096)
    fold = {"blue": (369100, *drawn(4000)), "red": (380100, *drawn(3700))}
    lrs, sdss, star = (36000, *drawn(3000)), (35800, *drawn(3800)), (696500, *drawn(8575))
    normal = star[0], star[1] / 700, star[2] * 700**2
    files = {
        "lrs_dr1": s.write_lamost_lrs(folder / "lrs_dr1", *lrs, **PLACE, rv=5.0, layout="dr1"),
        "lrs_dr2": s.write_lamost_lrs(folder / "lrs_dr2", *lrs, **PLACE, rv=5.0, layout="dr2"),
        "lrs_dr8": s.write_lamost_lrs(folder / "lrs_dr8", *lrs, **PLACE, rv=5.0),
        "lrs_table": s.write_lamost_lrs(folder / "lrs_table", *lrs, **PLACE, rv=5.0, layout="table"),
        "mrs": s.write_lamost_mrs(folder / "mrs", fold, **PLACE),
        "mrs_vectors": s.write_lamost_mrs(folder / "mrs_vectors", fold, **PLACE, vectors=True),
        "sdss_full": s.write_sdss(folder / "sdss_full", *sdss, **PLACE, rv=5.0, era="legacy", full=True),
        "sdss_lite": s.write_sdss(folder / "sdss_lite", *sdss, **PLACE, rv=5.0),
        "sdss5": s.write_sdss(folder / "sdss5", *sdss, **PLACE, rv=5.0, era="sdss5"),
        "apstar": s.write_apogee_star(folder / "apstar", *star, **PLACE, rv=5.0),
        "apstar_dr17": s.write_apogee_star(folder / "apstar_dr17", *star, **PLACE, rv=5.0, era="dr17"),
        "aspcapstar": s.write_apogee_aspcapstar(folder / "aspcapstar", *normal, **PLACE, rv=5.0),
        "apvisit": s.write_apogee_visit(folder / "apvisit", *visit, **PLACE, bc=11.0, rv=5.0),
        "mwmstar": s.write_mwmstar(folder / "mwmstar", {"boss/apo": sdss, "apogee/apo": star}, **PLACE, rv=5.0),
    }
    return files


def flipped(raw: bytes, rng: np.random.Generator, *, header: bool = False, packed: bool = False) -> bytes:
    """1 to 4 bits changed: anywhere, or only in the blocks of 2880 bytes that hold header cards."""
    out = bytearray(gzip.compress(raw, mtime=0) if packed else raw)
    places = np.arange(len(out))
    if header:
        text = [i for i in range(0, len(out), 2880) if out[i : i + 8].strip() in (b"SIMPLE", b"XTENSION")]
        places = np.concatenate([np.arange(i, min(i + 2880, len(out))) for i in text])
    for at in rng.choice(places, size=rng.integers(1, 5), replace=False):
        out[at] ^= 1 << int(rng.integers(8))
    return bytes(out)


def truncated(raw: bytes, rng: np.random.Generator) -> bytes:
    """Cut anywhere, at a block's end, or inside a compressed file."""
    kind = rng.integers(3)
    if kind == 0:
        return raw[: int(rng.integers(len(raw)))]
    if kind == 1:
        return raw[: 2880 * int(rng.integers(1, len(raw) // 2880))]
    packed = gzip.compress(raw, mtime=0)
    return packed[: int(rng.integers(len(packed)))]


def bare(raw: bytes) -> bytes:
    """The same file without checksums."""
    with fits.open(io.BytesIO(raw)) as hdus:
        return _written(hdus, sums=False)


def _written(hdus: fits.HDUList, *, sums: bool) -> bytes:
    for hdu in hdus:
        for key in SUMS:
            hdu.header.remove(key, ignore_missing=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if sums:
                hdu.add_checksum(when="simulated")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cards too long for their comments
        hdus.writeto(buffer, output_verify="ignore")
    return buffer.getvalue()


def nonsense(raw: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """A whole file that says something impossible or lacks something, its checksums right: what it was, the bytes."""
    for _ in range(50):
        name = list(_NONSENSE)[int(rng.integers(len(_NONSENSE)))]
        with fits.open(io.BytesIO(raw)) as hdus:
            changed = _NONSENSE[name](hdus, rng)
            if changed is not None:
                return name, _written(changed, sums=True)
    raise AssertionError("no change applies")


def _pick(hdus, rng, wanted) -> fits.hdu.base._BaseHDU | None:
    found = [h for h in hdus if wanted(h)]
    return found[int(rng.integers(len(found)))] if found else None


def _drop(hdus, rng):
    """One block is missing."""
    if len(hdus) < 2:
        return None
    gone = int(rng.integers(1, len(hdus)))
    return fits.HDUList([h for i, h in enumerate(hdus) if i != gone])


def _only_primary(hdus, rng):
    return fits.HDUList([hdus[0]]) if len(hdus) > 1 else None


def _swap(hdus, rng):
    """Two neighbouring blocks change places."""
    if len(hdus) < 3:
        return None
    i = int(rng.integers(1, len(hdus) - 1))
    order = list(range(len(hdus)))
    order[i], order[i + 1] = order[i + 1], order[i]
    return fits.HDUList([hdus[k] for k in order])


_KEYS = (
    *(
        "COEFF0",
        "COEFF1",
        "CRVAL1",
        "CD1_1",
        "CDELT1",
        "CRPIX1",
        "RA",
        "DEC",
        "Z",
        "SNRG",
        "SNR",
        "SN_G",
        "VHELIO",
        "BC",
    ),
    *("NVISITS", "MJD", "FIBERID", "DATA_V", "TELESCOP", "EXTEN0", "VACUUM", "OBSID", "STARFLAG", "PLATE", "V_ASTRA"),
)
_VALUES = (-1e300, 1e300, 0, -1, 10**18, "", "not a number", "9" * 30, True, False, 3.5, -9999)


def _card(hdus, rng):
    """A header value of another type or absurd size."""
    hdu = _pick(hdus, rng, lambda h: any(k in h.header for k in _KEYS))
    if hdu is None:
        return None
    keys = [k for k in _KEYS if k in hdu.header]
    for key in rng.choice(keys, size=min(len(keys), int(rng.integers(1, 4))), replace=False):
        hdu.header[str(key)] = _VALUES[int(rng.integers(len(_VALUES)))]
    return hdus


def _no_card(hdus, rng):
    hdu = _pick(hdus, rng, lambda h: any(k in h.header for k in _KEYS))
    if hdu is None:
        return None
    keys = [k for k in _KEYS if k in hdu.header]
    for key in rng.choice(keys, size=min(len(keys), int(rng.integers(1, 4))), replace=False):
        del hdu.header[str(key)]
    return hdus


def _image(change: Callable[[np.ndarray, np.random.Generator], np.ndarray | None]):
    def apply(hdus, rng):
        hdu = _pick(hdus, rng, lambda h: h.is_image and h.data is not None)
        if hdu is None:
            return None
        data = change(np.array(hdu.data), rng)
        if data is None:
            return None
        hdu.data = data
        return hdus

    return apply


def _column(change: Callable[[str, np.ndarray, np.random.Generator], tuple[str, str, np.ndarray] | None]):
    """One column of a table renamed, dropped (None) or given other values and another format."""

    def apply(hdus, rng):
        hdu = _pick(hdus, rng, lambda h: isinstance(h, fits.BinTableHDU) and len(h.data))
        if hdu is None:
            return None
        names = list(hdu.columns.names)
        numbers = [n for n in names if "A" not in hdu.columns[n].format]
        if not numbers:
            return None
        which = str(rng.choice([n for n in names if n.upper() in _SPECTRAL] or numbers))
        columns = []
        for name in names:
            kept = fits.Column(name, hdu.columns[name].format, array=np.array(hdu.data[name]))
            if name == which:
                new = change(name, np.array(hdu.data[name]), rng)
                kept = None if new is None else fits.Column(*new[:2], array=new[2])
            if kept is not None:
                columns.append(kept)
        at = list(hdus).index(hdu)
        fresh = fits.BinTableHDU.from_columns(columns, name=hdu.name)
        return fits.HDUList([*hdus[:at], fresh, *hdus[at + 1 :]])

    return apply


_SPECTRAL = ("FLUX", "IVAR", "WAVELENGTH", "LOGLAM", "AND_MASK", "ANDMASK", "PIXEL_FLAGS", "WDISP")


def _no_rows(hdus, rng):
    hdu = _pick(hdus, rng, lambda h: isinstance(h, fits.BinTableHDU) and len(h.data))
    if hdu is None:
        return None
    hdu.data = hdu.data[:0]
    return hdus


def _few_rows(hdus, rng):
    hdu = _pick(hdus, rng, lambda h: isinstance(h, fits.BinTableHDU) and len(h.data) > 20)
    if hdu is None:
        return None
    hdu.data = hdu.data[:7]
    return hdus


def _wide(values: np.ndarray) -> str:
    return f"{values.shape[1]}D" if values.ndim == 2 else "D"


def _shuffled_wavelength(hdus, rng):
    """The wavelengths of a table, or an apVisit, in another order, or moved by a part of a pixel."""
    for at, hdu in enumerate(hdus):
        if isinstance(hdu, fits.BinTableHDU) and len(hdu.data):
            name = next((n for n in hdu.columns.names if n.upper() in ("LOGLAM", "WAVELENGTH")), None)
            if name is None:
                continue
            values = np.array(hdu.data[name])
            axis = values.ndim - 1
            kind = rng.integers(3)
            if kind == 0:
                values = np.flip(values, axis=axis)
            elif kind == 1:
                values = rng.permuted(values, axis=axis)
            else:
                values = values * (1 + 3e-6)
            hdu.data[name] = values
            return hdus
        if at == 4 and hdu.is_image and hdu.data is not None and hdu.data.shape == (3, 4096):
            hdu.data = rng.permuted(hdu.data, axis=1)
            return hdus
    return None


_NONSENSE: dict[str, Callable] = {
    "a block is missing": _drop,
    "only the first block": _only_primary,
    "blocks in another order": _swap,
    "absurd header values": _card,
    "header values missing": _no_card,
    "an image of integers": _image(
        lambda d, rng: np.nan_to_num(d, posinf=0, neginf=0).clip(-3e4, 3e4).astype(np.int16)
    ),
    "an image of NaN": _image(lambda d, rng: np.full(d.shape, np.nan)),
    "an image cut": _image(lambda d, rng: d[..., : int(rng.integers(1, d.shape[-1]))]),
    "an image turned": _image(lambda d, rng: d.T.copy() if d.ndim == 2 else d[None, None]),
    "an image of one number": _image(lambda d, rng: np.array([1.0])),
    "a column dropped": _column(lambda n, v, rng: None),
    "a column renamed": _column(lambda n, v, rng: ("SOMETHING", _wide(v), v)),
    "a column of text": _column(lambda n, v, rng: (n, "5A", np.full(len(v), "words"))),
    "a column of NaN": _column(lambda n, v, rng: (n, _wide(v), np.full(v.shape, np.nan))),
    "a column of infinities": _column(lambda n, v, rng: (n, _wide(v), np.full(v.shape, -np.inf))),
    "no rows": _no_rows,
    "few rows": _few_rows,
    "wavelengths wrong": _shuffled_wavelength,
}
