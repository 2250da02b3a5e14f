"""Simulated files in SDSS's layouts: spec full and lite from the legacy survey to SDSS-V, and mwmStar."""

from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from jaxtyping import Float

from astrogf.base.constants import C_KMS
from astrogf.surveys.formats.apogee import FIRST as APOGEE_FIRST
from astrogf.surveys.formats.apogee import PIXELS as APOGEE_PIXELS
from astrogf.surveys.simulate.base import checked, placed, save, signal_to_noise
from astrogf.surveys.spectrum import APOGEE_STEP, LOG_STEP, SurveyError, grid

BOSS_FIRST, BOSS_PIXELS = 35523, 4648
"""The grid of mwmStar's BOSS spectra: 3567-10,402 A."""

NODATA, BRIGHTSKY = 1 << 24, 1 << 23
SKY_LINES = (5578.9, 5891.6, 6301.7, 6365.5)  # A, vacuum: [O I] and Na I
Era = Literal["legacy", "boss", "sdss5"]


def write_sdss(
    path: Path | str,
    first: int,
    flux: Float[np.ndarray, " pixel"],
    ivar: Float[np.ndarray, " pixel"],
    *,
    ra: float,
    dec: float,
    rv: float,
    era: Era = "boss",
    full: bool = False,
    wdisp: Float[np.ndarray, " pixel"] | None = None,
    subclass: str = "G2",
    survey_class: str = "STAR",
    plate: int = 4055,
    mjd: int = 55359,
    fiber: int = 1,
    snr: float | None = None,
) -> Path:
    """Write one spectrum as an SDSS spec file.

    first: index of flux[0] on the grid of 1e-4 dex. era: "legacy" (SDSS and SEGUE: SPECOBJ, a plate number as
    RUN2D), "boss" (BOSS and eBOSS: SPALL) or "sdss5" (SDSS-V specLite: names in capitals, WRESL, CATALOGID). full:
    with single exposures behind. wdisp: sigma in pixels, 0.9 to 1.1 along the spectrum if None. Pixels with ivar <= 0
    or a flux that is not finite get ivar 0 and NODATA in both masks; those within 4 A of a night-sky line BRIGHTSKY.
    As in real files loglam is float32 and the header's COEFF0 is not that of the coadd. The same arguments give the
    same bytes. Raises SurveyError for vectors of different lengths.
    """
    flux, ivar, good = checked(flux, ivar)
    n = len(flux)
    wavelength = grid(first, n)
    wdisp = np.linspace(0.9, 1.1, n) if wdisp is None else np.asarray(wdisp, dtype=np.float64)
    if wdisp.shape != flux.shape:
        raise SurveyError(f"wdisp {wdisp.shape} and flux {flux.shape} must be vectors of one length.", "bad_header")
    sky = np.abs(wavelength[:, None] - np.array(SKY_LINES)).min(axis=1) < 4.0
    mask = np.where(good, 0, NODATA) | np.where(sky, BRIGHTSKY, 0)
    clean = np.where(np.isfinite(flux), flux, 0.0)
    vectors = {
        "flux": ("E", clean),
        "loglam": ("E", np.arange(first, first + n) * LOG_STEP),
        "ivar": ("E", np.where(good, ivar, 0.0)),
        "and_mask": ("J", mask),
        "or_mask": ("J", mask),
        "wdisp": ("E", wdisp),
        "sky": ("E", np.where(sky, 30.0, 3.0)),
        "model": ("E", clean),
    }
    if era == "sdss5":
        vectors["wresl"] = ("E", wdisp * wavelength * LOG_STEP * np.log(10.0))
    change = str.upper if era == "sdss5" else str
    columns = [fits.Column(change(name), form, array=values) for name, (form, values) in vectors.items()]
    snr = signal_to_noise(flux, ivar) if snr is None else snr
    run = {"legacy": "26", "boss": "v5_10_0", "sdss5": "v6_1_3"}[era]
    about = {
        "PLUG_RA": ("D", ra),
        "PLUG_DEC": ("D", dec),
        "CLASS": ("6A", survey_class),
        "SUBCLASS": ("21A", subclass),
        "Z": ("E", rv / C_KMS),
        "Z_ERR": ("E", 5.0 / C_KMS),
        "ZWARNING": ("J", 0),
        "SN_MEDIAN_ALL": ("E", snr),
        "SN_MEDIAN": ("5E", np.full(5, snr)),
        "RUN2D": (f"{len(run)}A", run),
        "MJD": ("J", mjd),
    }
    if era == "sdss5":
        about |= {"FIELD": ("J", plate), "CATALOGID": ("K", 27021598150202075)}
    else:
        about |= {"PLATE": ("J", plate), "FIBERID": ("J", fiber), "SPECOBJID": ("22A", f"{plate}{mjd}{fiber:04d}")}
    row = [fits.Column(name, form, array=np.array([value])) for name, (form, value) in about.items()]
    cards = (
        ("TELESCOP", "SDSS 2.5-M", "Simulated: no telescope was involved"),
        ("SIMULATE", True, "Simulated spectrum"),
        ("MJD", mjd, "Modified Julian Day"),
        ("RA", ra - 0.7, "RA of the telescope, not of the object"),
        ("DEC", dec + (0.7 if dec < 0 else -0.7), "Dec of the telescope, not of the object"),
        ("VACUUM", True, "Wavelengths are in vacuum"),
        ("HELIO_RV", 0.0, "Heliocentric correction (added to velocities)"),
        ("COEFF0", round((first - 18) * LOG_STEP, 4), "Center wavelength (log10) of first pixel"),
        ("COEFF1", LOG_STEP, "Log10 dispersion per pixel"),
        ("BUNIT", "1E-17 erg/cm^2/s/Ang", ""),
    )
    hdus: list = [
        fits.PrimaryHDU(header=fits.Header(cards)),
        fits.BinTableHDU.from_columns(columns, name="COADD"),
        fits.BinTableHDU.from_columns(row, name="SPECOBJ" if era == "legacy" else "SPALL"),
    ]
    if full:
        single = [
            fits.Column(name, form, array=values) for name, (form, values) in vectors.items() if "mask" not in name
        ]
        single.append(fits.Column("mask", "J", array=mask))
        hdus += [fits.BinTableHDU.from_columns(single, name=f"{arm}1-00000001") for arm in "BR"]
    return save(path, hdus)


Star = tuple[int, Float[np.ndarray, " pixel"], Float[np.ndarray, " pixel"]]
"""Index of the first pixel on its instrument's grid, flux, ivar."""


def write_mwmstar(
    path: Path | str,
    spectra: dict[str, Star],
    *,
    ra: float,
    dec: float,
    rv: float,
    sdss_id: int = 54392544,
    release: str = "sdss5",
) -> Path:
    """Write the combined spectra of one star as an mwmStar file, by its data model.

    spectra: by instrument and site, "boss/apo", "boss/lco", "apogee/apo", "apogee/lco"; the blocks of those absent
    hold no row. Fluxes are in the rest frame; rv (km/s) is what is said to have been taken out. Pixels not covered, and
    those with ivar <= 0 or a flux that is not finite, get ivar 0 and flux NaN. The same arguments give the same bytes.
    Raises SurveyError for an unknown name, or pixels that leave the instrument's grid.
    """
    names = ("boss/apo", "boss/lco", "apogee/apo", "apogee/lco")
    if set(spectra) - set(names):
        raise SurveyError(f"spectra has {', '.join(sorted(set(spectra) - set(names)))}; known are {', '.join(names)}.")
    cards = (("SDSS_ID", sdss_id), ("RA", ra), ("DEC", dec), ("V_ASTRA", "0.6.0"), ("SIMULATE", True))
    hdus: list = [fits.PrimaryHDU(header=fits.Header(cards))]
    for name in names:
        boss = name.startswith("boss")
        start, n, step = (BOSS_FIRST, BOSS_PIXELS, LOG_STEP) if boss else (APOGEE_FIRST, APOGEE_PIXELS, APOGEE_STEP)
        held = name in spectra
        flux, ivar, snr = np.zeros(n), np.zeros(n), 0.0
        if held:
            first, given, weight = spectra[name]
            given, weight, good = checked(given, weight)
            flux = placed(np.where(good, given, np.nan), first, start, n, otherwise=np.nan)
            ivar = placed(np.where(good, weight, 0.0), first, start, n)
            snr = signal_to_noise(given, weight)
        unseen = NODATA if boss else 1
        rows = {
            "spectrum_pk": ("K", 1),
            "sdss_id": ("K", sdss_id),
            "release": ("5A", release),
            "telescope": ("6A", "apo25m" if name.endswith("apo") else "lco25m"),
            "v_rad": ("E", rv),
            "snr": ("E", snr),
            "wavelength": (f"{n}D", 10.0 ** ((start + np.arange(n)) * step)),
            "flux": (f"{n}E", flux),
            "ivar": (f"{n}E", ivar),
            "pixel_flags": (f"{n}K", np.where(ivar > 0, 0, unseen)),
            "continuum": (f"{n}E", np.ones(n)),
            "nmf_rectified_model_flux": (f"{n}E", np.ones(n)),
        }
        columns = [
            fits.Column(key, form, array=np.array([value]) if held else np.array([value])[:0])
            for key, (form, value) in rows.items()
        ]
        hdus.append(fits.BinTableHDU.from_columns(columns, name=name.upper()))
    return save(path, hdus)
