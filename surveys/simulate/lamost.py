"""Simulated files in LAMOST's layouts: LRS image of three generations, LRS table, MRS."""

from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from jaxtyping import Float

from astrogf.base.constants import C_KMS
from astrogf.surveys.simulate.base import checked, placed, save, signal_to_noise
from astrogf.surveys.spectrum import LOG_STEP, MRS_STEP, SurveyError, grid

LRS_FIRST, LRS_PIXELS = 35682, 3909
"""First pixel and commonest length of real LRS files: 3700.0-9099.1 A."""

Layout = Literal["dr1", "dr2", "dr8", "table"]


def write_lamost_lrs(
    path: Path | str,
    first: int,
    flux: Float[np.ndarray, " pixel"],
    ivar: Float[np.ndarray, " pixel"],
    *,
    ra: float,
    dec: float,
    rv: float,
    object: str = "",
    snr: float | None = None,
    subclass: str = "Non",
    survey_class: str = "STAR",
    release: str = "LAMOST DR8",
    obsid: int = 0,
    fiber: int = 1,
    layout: Layout = "dr8",
) -> Path:
    """Write one spectrum as a LAMOST LRS file.

    layout: "dr8" (DR4-DR8: an image of rows flux, ivar, wavelength, andmask, ormask), "dr1" (row 2 is a continuum-
    subtracted spectrum, no DATA_V and OBSID, SN_G for SNRG), "dr2" (as dr1 with wavelength, float64, FIBERID a
    string) or "table" (DR9 on: one row of vectors). first: index of flux[0] on the shared grid (spectrum.grid); the
    file always has the real extent, 3909 pixels from 3700 to 9099 A, and what the given pixels do not cover is dead
    as in a real file: flux 0, ivar 0, both masks 1. The same holds for given pixels with ivar <= 0 or a flux that is
    not finite, except that a finite flux is kept. ra, dec: degrees. rv: heliocentric, km/s. snr: for every band's
    header key; None measures the median of flux*sqrt(ivar). A path that ends in .gz is compressed. The same arguments
    give the same bytes. Raises SurveyError where pixels lie outside LAMOST's range or shapes differ.
    """
    path = Path(path)
    flux, ivar, good = checked(flux, ivar)
    snr = signal_to_noise(flux, ivar) if snr is None else snr
    old = layout in ("dr1", "dr2")
    rows = np.zeros((5, LRS_PIXELS), dtype=np.float64 if layout == "dr2" else np.float32)
    rows[0] = placed(np.where(np.isfinite(flux), flux, 0.0), first, LRS_FIRST, LRS_PIXELS)
    rows[1] = placed(np.where(good, ivar, 0.0), first, LRS_FIRST, LRS_PIXELS)
    rows[2] = rows[0] - np.median(rows[0]) if layout == "dr1" else grid(LRS_FIRST, LRS_PIXELS)
    rows[3:] = placed(~good, first, LRS_FIRST, LRS_PIXELS, otherwise=1.0)
    third = "Subcontinuum" if layout == "dr1" else "Wavelength"
    bands = "SN_" if old else "SNR"
    cards = [
        ("FILENAME", path.name.removesuffix(".gz"), ""),
        ("OBSID", obsid, "Unique number ID of this spectrum"),
        ("AUTHOR", "simulation", "Who compiled the information"),
        ("DATA_V", release, "Data release version"),
        ("EXTEN0", f"Flux, Inverse, {third}, Andmask, Ormask", ""),
        ("N_EXTEN", 1, "The extension number"),
        ("EXTNAME", "Flux", "The extension name"),
        *_place(ra, dec, object),
        ("FIBERID", f"{fiber:03d}" if layout == "dr2" else fiber, "Fiber ID of Object"),
        ("NWORDER", 2, "Number of linear-log10 coefficients"),
        ("WFITTYPE", "LOG-LINEAR", "Linear-log10 dispersion"),
        ("COEFF0", LRS_FIRST / 10000, "Central wavelength (log10) of first pixel"),
        ("COEFF1", LOG_STEP, "Log10 dispersion per pixel"),
        ("CRVAL1", LRS_FIRST / 10000, "Central wavelength (log10) of first pixel"),
        ("CD1_1", LOG_STEP, "Log10 dispersion per pixel"),
        ("CRPIX1", 1, "Starting pixel (1-indexed)"),
        ("CTYPE1", "LINEAR", ""),
        ("DC-FLAG", 1, "Log-linear flag"),
        ("VERSPIPE", {"dr1": "v2.6.4", "dr2": "2.7.5"}.get(layout, "simulated"), "Version of Pipeline"),
        ("CLASS", survey_class, "Class of object"),
        ("SUBCLASS", subclass, "Subclass of object"),
        ("Z", rv / C_KMS, "Redshift of object"),
        ("Z_ERR", 5.0 / C_KMS, "Redshift error of object"),
        ("Z_FROM" if old else "ZFLAG", "SIMULATED", "Which method computes the redshift"),
        *((f"{bands}{band}", round(snr, 2), f"SNR of {band.lower()} filter") for band in "UGRIZ"),
    ]
    absent = {"OBSID", "DATA_V"} if old else {"EXTEN0", "EXTNAME"} if layout == "table" else set()
    header = fits.Header([card for card in cards if card[0] not in absent])
    if layout != "table":
        return save(path, [fits.PrimaryHDU(rows, header)])
    names = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK", "NORMALIZATION")
    vectors = [*rows, np.full(LRS_PIXELS, -9999.0, dtype=np.float32)]
    header["NORM"] = (0, "NORMALIZATION is not filled")
    columns = [fits.Column(n, f"{LRS_PIXELS}E", array=v[None]) for n, v in zip(names, vectors, strict=True)]
    return save(path, [fits.PrimaryHDU(header=header), fits.BinTableHDU.from_columns(columns, name="COADD")])


def _place(ra: float, dec: float, object: str) -> list[tuple]:
    """Cards about target and frame that all LAMOST files share."""
    return [
        ("ORIGIN", "NAOC-LAMOST", "Organization whose layout this is"),
        ("TELESCOP", "LAMOST", "Simulated: no telescope was involved"),
        ("SIMULATE", True, "Simulated spectrum"),
        ("LMJD", 58000, "Local Modified Julian Day"),
        ("MJD", 57999, "Modified Julian Day"),
        ("PLANID", "SIMULATED", "Plan ID in use"),
        ("RA", float(ra), "[deg] Right ascension of object"),
        ("DEC", float(dec), "[deg] Declination of object"),
        ("DESIG", object, "Designation of LAMOST target"),
        ("OBJNAME", object, "Name of object"),
        ("OBJTYPE", "Star", "Object type from input catalog"),
        ("SPID", 1, "Spectrograph ID"),
        ("HELIO", True, "Heliocentric correction"),
        ("HELIO_RV", 0.0, "[km/s] Heliocentric correction"),
        ("VACUUM", True, "Wavelengths are in vacuum"),
    ]


Arm = tuple[int, Float[np.ndarray, " pixel"], Float[np.ndarray, " pixel"]]
"""Index of the first pixel on the grid of 1e-5 dex, flux, ivar."""


def write_lamost_mrs(
    path: Path | str,
    arms: dict[str, Arm],
    *,
    ra: float,
    dec: float,
    object: str = "",
    release: str = "LAMOST DR8",
    obsid: int = 0,
    exposures: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] | None = None,
    vectors: bool = False,
) -> Path:
    """Write one star as a LAMOST MRS file: coadds of the arms "blue" and "red" (one of them may be absent).

    A pixel with ivar <= 0 or a flux that is not finite is written with ivar 0 and both masks 1. LOGLAM is float32 as
    in real files. exposures: for each arm, tuples of wavelength (A, monotonic), flux, ivar. The same arguments give
    the same bytes. Raises SurveyError for an arm of another name or vectors of different lengths.
    """
    path = Path(path)
    if not arms or set(arms) - {"blue", "red"}:
        raise SurveyError(f"arms are {sorted(arms)}; LAMOST MRS has blue and red.", "bad_header")
    cards = [
        ("FILENAME", path.name.removesuffix(".gz"), ""),
        ("OBSID", obsid, "Unique number ID of this spectrum"),
        ("AUTHOR", "simulation", "Who compiled the information"),
        ("DATA_V", release, "Data release version"),
        ("EXTNAME", "Information", "The extension name"),
        *_place(ra, dec, object),
        ("FIBERID", 1, "Fiber ID of Object"),
        *((f"COMBIN_{arm[0].upper()}", arm in arms, "Whether the combined data exists") for arm in ("blue", "red")),
    ]
    hdus: list = [fits.PrimaryHDU(header=fits.Header(cards))]
    for arm, (first, flux, ivar) in sorted(arms.items()):
        loglam = np.arange(first, first + len(flux)) * MRS_STEP
        hdus.append(_mrs_block(f"COADD_{arm[0].upper()}", loglam, flux, ivar, ("ANDMASK", "ORMASK"), vectors))
    for arm, single in sorted((exposures or {}).items()):
        for i, (wavelength, flux, ivar) in enumerate(single):
            name = f"{arm[0].upper()}-{83900000 + 15 * i}"
            hdus.append(_mrs_block(name, np.log10(wavelength), flux, ivar, ("PIXMASK",), vectors))
    return save(path, hdus)


def _mrs_block(
    name: str, loglam: np.ndarray, flux: np.ndarray, ivar: np.ndarray, masks: tuple[str, ...], vectors: bool
) -> fits.BinTableHDU:
    flux, ivar, good = checked(flux, ivar)
    held = {"FLUX": np.where(np.isfinite(flux), flux, 0.0), "IVAR": np.where(good, ivar, 0.0)}
    held |= {"WAVELENGTH": 10.0**loglam} if vectors else {"LOGLAM": loglam}
    held |= dict.fromkeys(masks, (~good).astype(np.int16))
    columns = [
        fits.Column(key, f"{flux.size}E", array=value[None])
        if vectors
        else fits.Column(key, "I" if key in masks else "E", array=value)
        for key, value in held.items()
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    hdu.header["SNR"] = (round(signal_to_noise(flux, ivar), 2), "Signal to noise ratio")
    hdu.header["EXPTIME"] = (1200, "[s] Exposure duration time")
    hdu.header["LAMPLIST"] = ("lampsc_med.dat", "Arc lamp emission line list")
    return hdu
