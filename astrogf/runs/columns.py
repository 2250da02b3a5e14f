"""What the columns of a run's tables are: descriptions, and UCDs, the words by which virtual observatories know them.

UCDs are those of the UCD1+ controlled vocabulary (IVOA, version 1.5).
"""

import re
from typing import NamedTuple

from astropy.table import Table

GF = "phys.atmol.wOscStrength"


class About(NamedTuple):
    """A column in words, and its UCD ('' where the vocabulary has none)."""

    description: str
    ucd: str = ""


ABOUT: dict[str, About] = {
    # lines
    "wavelength": About("of the strongest component, in vacuum", "em.wl"),
    "species": About("element or molecule, and ionisation", "phys.atmol.element"),
    "elow": About("energy of the lower level", "phys.energy;phys.atmol.initial;phys.atmol.level"),
    "loggf": About("log gf of the list, of the strongest component", GF),
    "loggf_corrected": About("loggf + correction", GF),
    "loggf_total": About("log gf of the transition: its components added up, isotopes by their shares", GF),
    "correction": About("to be added to log gf of every component: posterior mean", f"{GF};arith.diff"),
    "posterior_sd": About("posterior sd of the correction", f"stat.error;{GF}"),
    "low_95": About("lower end of the 95% credible interval of the correction", f"{GF};stat.min"),
    "low_68": About("lower end of the 68% credible interval of the correction", f"{GF};stat.min"),
    "high_68": About("upper end of the 68% credible interval of the correction", f"{GF};stat.max"),
    "high_95": About("upper end of the 95% credible interval of the correction", f"{GF};stat.max"),
    "prior_sd": About("prior sd of the correction as the fit left it", f"stat.stdev;{GF}"),
    "list_share": About("how far the log gf would follow another value of the list: 1 is the list's word"),
    "badly_wrong": About("probability that the list's value is badly wrong", "stat.probability"),
    "blended": About("probability that a line which no list has lies under it", "stat.probability"),
    "apparent": About("what the spectra want of the line, the model's own error included", f"{GF};arith.diff"),
    "apparent_sd": About("sd of apparent", f"stat.error;{GF}"),
    "drift": About("what it changes by in a star 1000 K hotter: an error of the model", f"{GF};arith.diff"),
    "drift_sd": About("sd of drift", f"stat.error;{GF}"),
    "ratio": About("apparent_sd over its prior sd: near 1 the spectra said nothing", "stat.error;arith.ratio"),
    "group": About("lines that share a prior", "meta.id;meta.dataset"),
    "components": About("tied hyperfine and isotopic components", "meta.number"),
    "component_wavelengths": About("of the components, in vacuum, Angstrom"),
    "partner": About("wavelength of the line whose correction it is most correlated with", "em.wl"),
    "correlation": About("with the correction of partner", "stat.correlation"),
    "strength": About("greatest line-to-continuum opacity in the reference stars", "phys.absorption.opticalDepth"),
    "before": About("correction in the run that is the prior", f"{GF};arith.diff"),
    "before_sd": About("its posterior sd there", f"stat.error;{GF}"),
    "moved": About("how far the correction has moved since", f"{GF};arith.diff"),
    "injected": About("the true correction of a simulation", f"{GF};arith.diff"),
    # stars
    "path": About("file, below the directory given, or name of a stated spectrum", "meta.id;meta.file"),
    "used": About("whether it was fitted", "meta.code.status"),
    "spectrum": About("row in spectra.fits, -1 for none", "meta.record"),
    "reason": About("code of why it was set aside", "meta.code.status"),
    "detail": About("why it was set aside", "meta.note"),
    "flags": About("what a fitted star leans on", "meta.note"),
    "teff": About("effective temperature", "phys.temperature.effective"),
    "logg": About("log surface gravity, cgs", "phys.gravity"),
    "feh": About("metallicity [Fe/H]", "phys.abund.Fe"),
    "alpha": About("[alpha/Fe]", "phys.abund"),
    "vmic": About("microturbulence", "phys.veloc.microTurb"),
    "ln_sigma": About("ln of the Gaussian sigma of all broadening, in km/s", "instr.det.psf"),
    "rv": About("radial velocity", "spect.dopplerVeloc.opt"),
    "n_pixel": About("pixels used", "meta.number"),
    "chi2_per_pixel_original": About("with the list as it came", "stat.fit.chi2"),
    "chi2_per_pixel_corrected": About("with the corrected list", "stat.fit.chi2"),
    "object": About("name in the file", "meta.id"),
    "star": About("star that the spectrum is of", "meta.id"),
    "ra": About("right ascension of the file", "pos.eq.ra"),
    "dec": About("declination of the file", "pos.eq.dec"),
    "snr": About("signal-to-noise ratio a pixel", "stat.snr"),
    "snr_source": About("where it comes from", "meta.note"),
    "rv_header": About("radial velocity of the file", "spect.dopplerVeloc.opt"),
    "class": About("of the file", "src.class"),
    "subclass": About("of the file", "src.spType"),
    "survey": About("", "meta.dataset"),
    "release": About("data release", "meta.version"),
    "obsid": About("observation", "meta.id;obs"),
    "mjd": About("modified Julian date", "time.epoch"),
    "good_fraction": About("usable part of the window's pixels"),
    "sha256": About("checksum of the file", "meta.checksum"),
    "ref_teff": About("effective temperature, reference", "phys.temperature.effective"),
    "ref_logg": About("log surface gravity, reference", "phys.gravity"),
    "ref_feh": About("metallicity, reference", "phys.abund.Fe"),
    # groups of lines
    "lines": About("lines of the group", "meta.number"),
    "tau": About("prior sd of most values of the list", f"stat.stdev;{GF}"),
    "gross": About("prior sd of badly wrong values, in addition", f"stat.stdev;{GF}"),
    "share": About("share of badly wrong values", "stat.probability"),
    "phi": About("sd of the model's own error of a line", f"stat.stdev;{GF}"),
}
"""Columns of all tables by name; `<name>_sd` is the error of <name>, and [X/Fe] of an element is a label too."""
ELEMENT = re.compile(r"([A-Z][a-z]?)|\[(\d*[A-Z][a-z]?)/Fe\]")


def about(name: str) -> About | None:
    """What a column is; None for one not known here."""
    if name in ABOUT:
        return ABOUT[name]
    if name.endswith("_sd") and (whole := about(name[:-3])) is not None:
        ucd = whole.ucd if whole.ucd.startswith("stat.") else f"stat.error;{whole.ucd}".rstrip(";")
        return About(f"posterior sd of {name[:-3]}", ucd)
    element = ELEMENT.fullmatch(name)
    return About(f"[{element[1] or element[2]}/Fe] beyond alpha", "phys.abund") if element else None


def described(table: Table) -> Table:
    """The same table, its columns with `description` and `meta["ucd"]` where they are known and not said yet."""
    for name in table.colnames:
        known, column = about(name), table[name]
        if known is None:
            continue
        if known.description and not column.info.description:
            column.info.description = known.description
        if known.ucd and not (column.info.meta or {}).get("ucd"):
            column.info.meta = {**(column.info.meta or {}), "ucd": known.ucd}
    return table
