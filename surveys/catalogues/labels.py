"""Label tables of the surveys and of users: which columns mean what, in which units, and what they may be used for.

Column names are those of the published tables: APOGEE's allStar (Abdurro'uf et al. 2022, ApJS 259, 35; DR19's
astraAllStarASPCAP), LAMOST's catalogues of LASP (Wu et al. 2011, RAA 11, 924), SEGUE's SSPP (Lee et al. 2008, AJ 136,
2022; files and CasJobs), the Gaia FGK benchmark stars (Jofre et al. 2014, A&A 564, A133; Soubiran et al. 2024, A&A
682, A145; as VizieR writes them) and Gaia DR3's astrophysical parameters (GSP-Spec before GSP-Phot).
"""

import re
from pathlib import Path
from typing import Literal, NamedTuple

import astropy.units as u
import numpy as np
from astropy.table import Table
from jaxtyping import Float

from astrogf.base import tables
from astrogf.surveys.catalogues.catalogue import NAMES, find_index, match_labels, read_labels
from astrogf.surveys.spectrum import SurveyError

Use = Literal["prior", "comparison"]

UNITS = {"teff": u.K, "logg": u.dex, "feh": u.dex, "alpha": u.dex, "vmic": u.km / u.s, "rv": u.km / u.s}
"""Units of the labels; logg is log10 of cm/s^2, feh [Fe/H], alpha [alpha/Fe] (ASPCAP: [alpha/M])."""

PLAUSIBLE = {
    "teff": (1500.0, 100_000.0),
    "logg": (-1.5, 9.5),
    "feh": (-9.0, 2.0),
    "alpha": (-3.0, 3.0),
    "vmic": (0.0, 50.0),
    "rv": (-5000.0, 5000.0),
}
"""Numbers outside are the tables' words for none (-9999, -99, 0 K, NaN)."""

FLOORS = {"teff": 50.0, "logg": 0.1, "feh": 0.05, "alpha": 0.05, "vmic": 0.3, "rv": 1.0}
"""Least standard deviation of a prior, in the units above: pipelines' own errors are of the fit alone, and repeats
and other pipelines differ by about so much. The sd of a prior where the table gives no error."""

COMPARED = ("teff", "logg", "feh")
"""Labels that a fit is compared in."""

_Names = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
"""label -> names of its column, names of the column of its error; the first that exists counts."""

_PLAIN: _Names = {
    "teff": (("teff", "t_eff", "effective_temperature"), ("teff_err", "teff_sd", "e_teff", "teff_unc", "teff_error")),
    "logg": (("logg", "log_g", "log(g)"), ("logg_err", "logg_sd", "e_logg", "logg_unc", "logg_error")),
    "feh": (
        ("feh", "fe_h", "[fe/h]", "_fe_h_", "__fe_h_", "m_h", "[m/h]", "mh"),
        ("feh_err", "feh_sd", "fe_h_err", "e_feh", "e_fe_h", "e_[fe/h]", "e__fe_h_", "feh_unc", "feh_error", "m_h_err"),
    ),
    "alpha": (
        ("alpha", "alpha_m", "alpha_fe", "afe", "[alpha/fe]"),
        ("alpha_err", "alpha_sd", "alpha_m_err", "e_alpha"),
    ),
    "vmic": (("vmic", "vmicro", "xi"), ("vmic_err", "vmic_sd", "vmicro_err", "e_vmic")),
    "rv": (
        ("rv", "vhelio_avg", "vhelio", "v_helio", "rv_helio", "radial_velocity"),
        ("rv_err", "rv_sd", "verr", "e_rv", "vrelerr"),
    ),
}
_BAND: dict[str, _Names] = {
    "SSPP": {
        "teff": (("teff_adop", "teffadop"), ("teff_adop_unc", "teffadopunc")),
        "logg": (("logg_adop", "loggadop"), ("logg_adop_unc", "loggadopunc")),
        "feh": (("feh_adop", "fehadop"), ("feh_adop_unc", "fehadopunc")),
        "alpha": (("alpha_fe", "afe", "alphafe"), ("alpha_fe_unc", "afeunc")),
        "rv": (("rv_adop", "elodiervfinal", "rvadop"), ("rv_adop_unc", "elodiervfinalerr", "rvadopunc")),
    },
    "LASP": {n: ((f"lasp_{n}", n), (f"lasp_{n}_err", f"{n}_err")) for n in ("teff", "logg", "feh", "rv")},
    "ASPCAP": {
        "teff": (("teff",), ("teff_err", "e_teff")),
        "logg": (("logg",), ("logg_err", "e_logg")),
        "feh": (("fe_h", "m_h", "m_h_atm"), ("fe_h_err", "e_fe_h", "m_h_err", "e_m_h_atm")),
        "alpha": (("alpha_m", "alpha_m_atm"), ("alpha_m_err", "e_alpha_m_atm")),
        "vmic": (("vmicro", "v_micro"), ("vmicro_err", "e_v_micro")),
        "rv": (("vhelio_avg", "v_rad"), ("verr", "e_v_rad", "vrelerr")),
    },
    "Gaia": {
        "teff": (("teff_gspspec", "teff_gspphot", "teff_val"), ()),
        "logg": (("logg_gspspec", "logg_gspphot"), ()),
        "feh": (("mh_gspspec", "mh_gspphot"), ()),
        "alpha": (("alphafe_gspspec",), ()),
        "rv": (("radial_velocity",), ("radial_velocity_error",)),
    },
}
_ASPCAP_BAD = 1 << 23 | 1 << 31  # STAR_BAD of DR10 to DR17, and NO_ASPCAP_RESULT of DR12 on
_DUPLICATE = 1 << 4  # EXTRATARG: another row of this star has the better S/N


class Labels(NamedTuple):
    """Labels of each spectrum of a batch or store, in its order.

    use: "prior" if a fit may lean on them, "comparison" if it must not see them. table: what the table was taken
    for (ASPCAP, LASP, SSPP, Gaia, benchmark, user). values: columns `<label>`, `<label>_sd` (NaN where there is none;
    units as UNITS) and matched_by (path, obsid, plate, name, position or "").
    """

    use: Use
    table: str
    values: Table

    def priors(
        self, floors: dict[str, float] | None = None
    ) -> dict[str, tuple[Float[np.ndarray, " star"], Float[np.ndarray, " star"]]]:
        """label -> mean and standard deviation of every star; a star without the label has mean 0 and sd infinite.

        The sd is the table's error and the floor (FLOORS, or those given) in quadrature, the floor alone where the
        table has no error. Raises SurveyError where the labels are only for comparison.
        """
        if self.use != "prior":
            raise SurveyError(
                f"These labels ({self.table}) are for comparison only: ask for them with use='prior' to fit with them."
            )
        floor = FLOORS | (floors or {})
        out = {}
        for name in (n for n in UNITS if n in self.values.colnames):
            mean, sd = (np.asarray(self.values[c], dtype=np.float64) for c in (name, f"{name}_sd"))
            given = np.isfinite(mean)
            width = np.hypot(np.where(np.isfinite(sd) & (sd > 0), sd, 0.0), floor[name])
            out[name] = np.where(given, mean, 0.0), np.where(given, width, np.inf)
        return out


def recognise(table: Table) -> str:
    """What a label table is, by its column names in lower case: ASPCAP, LASP, SSPP, Gaia, benchmark or user."""
    names = set(table.colnames)
    if {"teff_adop", "teffadop"} & names:
        return "SSPP"
    if ({"apogee_id", "sdss4_apogee_id"} & names) and ({"fe_h", "m_h", "m_h_atm"} & names) and "teff" in names:
        return "ASPCAP"
    if {"teff_gspspec", "teff_gspphot", "teff_val"} & names:
        return "Gaia"
    if "lasp_teff" in names or {"obsid", "teff", "logg", "feh"} <= names:
        return "LASP"
    if {"teff", "logg"} <= names and {"hip", "hd"} & names:
        return "benchmark"
    return "user"


def take_labels(stars: Table, table: Table, use: Use = "comparison") -> Labels:
    """The labels of `stars` (rows of a batch or store) from a table that catalogue.read_labels read.

    Values that mean none are NaN, and so are ASPCAP's flagged ones (STAR_BAD, NO_ASPCAP_RESULT); rows that APOGEE
    itself marks as duplicates are passed over. Values are converted to UNITS where the table gives another unit.
    Raises SurveyError where the table has no label at all, its unit cannot be one of that label, or `use` is not
    one of the two.
    """
    if use not in ("prior", "comparison"):
        raise SurveyError(f"use = {use!r}: labels are for 'prior' or for 'comparison'.")
    kind = recognise(table)
    if kind == "Gaia" and use == "prior":
        raise SurveyError(
            "Gaia's labels come without standard deviations and are not on a calibrated scale: use them for a "
            "comparison, or give teff, logg and feh with errors (teff_err ...) of your own."
        )
    names = _BAND.get(kind, _PLAIN)
    columns = {
        label: (column, next((c for c in errors if c in table.colnames), None))
        for label, (choices, errors) in names.items()
        if (column := next((c for c in choices if c in table.colnames), None)) is not None
    }
    if not columns:
        raise SurveyError(
            f"The table of labels has none of the columns {', '.join(v[0][0] for v in names.values())}; it has: "
            f"{', '.join(table.colnames[:12])}."
        )
    bad = np.zeros(len(table), dtype=bool)
    if kind == "ASPCAP":
        if "extratarg" in table.colnames:
            table = table[(_integers(table["extratarg"]) & _DUPLICATE) == 0]
        bad = np.zeros(len(table), dtype=bool)
        if "aspcapflag" in table.colnames:
            bad |= (_integers(table["aspcapflag"]) & _ASPCAP_BAD) != 0
        if "flag_bad" in table.colnames:  # DR19
            bad |= np.asarray(table["flag_bad"], dtype=bool)
    # only what is wanted is matched: allStar has hundreds of columns
    slim = table[[n for n in table.colnames if n in KEYS]]
    converted = {label: _converted(table, column, label) for label, (column, _) in columns.items()}
    # a row of zeros is no dwarf of [Fe/H] = 0: where Teff is none, so are zeros beside it
    empty = ~_plausible(converted["teff"], "teff") if "teff" in converted else np.zeros(len(table), dtype=bool)
    for label, (column, error) in columns.items():
        values = converted[label]
        _check_scale(values, column, label)
        plausible = _plausible(values, label) & ~(bad & (label != "rv")) & ~(empty & (values == 0.0))
        slim[f"label_{label}"] = np.where(plausible, values, np.nan)
        sd = _converted(table, error, label) if error else np.full(len(table), np.nan)
        # an error of zero or below, or as large as 9999, is none
        slim[f"label_{label}_sd"] = np.where(plausible & (sd > 0) & (sd < 9990.0), sd, np.nan)
    matched = match_labels(stars, slim)
    out = Table({"matched_by": matched["matched_by"]})
    for label in columns:
        for name in (label, f"{label}_sd"):
            out[name] = np.ma.filled(np.ma.asarray(matched[f"label_{name}"]).astype(float), np.nan)
            out[name].unit = UNITS[label]
    return Labels(use, kind, out)


def own_labels(table: Table) -> dict[str, tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"]]]:
    """label -> value and error of every row of a user's table (column names in lower case), in UNITS, NaN for none.

    Raises SurveyError for units of something else and for numbers that no star has.
    """
    out = {}
    for label, (choices, errors) in _PLAIN.items():
        column = next((c for c in choices if c in table.colnames), None)
        if column is None:
            continue
        values = _converted(table, column, label)
        _check_scale(values, column, label)
        error = next((c for c in errors if c in table.colnames), None)
        sd = _converted(table, error, label) if error else np.full(len(table), np.nan)
        good = _plausible(values, label)
        out[label] = np.where(good, values, np.nan), np.where(good & (sd > 0) & (sd < 9990.0), sd, np.nan)
    return out


KEYS = ("path", "obsid", "plate", "mjd", "fiber", "fiberid", "fiber_id", "ra", "dec", *NAMES)
"""Columns that tell which star a row is of."""


WHERE = "the table of labels"
"""What messages call a table whose name they do not know."""
_NONES = frozenset(
    sign * value
    for sign in (-1.0, 1.0)
    for value in (0.0, 9.99, 99.0, 99.9, 99.99, 999.0, 999.9, 999.99, 9999.0, 9999.9, 9999.99, 99999.0)
)


def _plausible(values: np.ndarray, label: str) -> np.ndarray:
    low, high = PLAUSIBLE[label]
    with np.errstate(invalid="ignore"):
        return (values > low) & (values < high)


def _check_scale(values: np.ndarray, column: str, label: str) -> None:
    """Raises SurveyError where no value is plausible, though some are given: Teff in kK, log Teff, g for log g."""
    if label not in COMPARED or _plausible(values, label).any():
        return
    strange = [v for v in values[np.isfinite(values)].tolist() if v not in _NONES and v > -900.0]
    if strange:
        low, high = PLAUSIBLE[label]
        raise SurveyError(
            f"{WHERE}: column {column} has no plausible value, the first is {strange[0]:g}; expected {low:g} to "
            f"{high:g} ({_MEANING[label]}): convert the column."
        )


_MEANING = {"teff": "K", "logg": "log10 of cm/s2", "feh": "[Fe/H] in dex"}


def _converted(table: Table, column: str, label: str) -> np.ndarray:
    wanted = UNITS[label]
    if wanted != u.dex:
        return tables.quantity(table, column, wanted, where=WHERE, error=SurveyError)
    values = tables.numbers(table, column, where=WHERE, error=SurveyError)
    return values + _shift(table[column].unit, column, label)


def _shift(unit: u.UnitBase | None, column: str, label: str) -> float:
    """What is added to values of log g or an abundance for their unit's sake; words astropy does not know are dex.

    Raises SurveyError for the unit of something else.
    """
    if unit is None or unit == u.dimensionless_unscaled or unit == u.dex:
        return 0.0
    text = str(unit)
    if isinstance(unit, u.UnrecognizedUnit):
        said = re.sub(r"log10|log|dex|[()\[\]]", " ", text).replace("sec", "s").split()
        inner, logarithm = u.Unit(" ".join(said), parse_strict="silent"), True
    else:
        inner, logarithm = getattr(unit, "physical_unit", unit), isinstance(unit, u.DexUnit)
    if label == "logg" and inner.is_equivalent(u.cm / u.s**2):
        factor = float(inner.to(u.cm / u.s**2))
        # 'cm/s2' is how catalogues write log g; in m/s2 nobody can tell whether it is a logarithm
        if logarithm or factor == 1.0:
            return float(np.log10(factor))
    elif isinstance(unit, u.UnrecognizedUnit) or (logarithm and inner == u.dimensionless_unscaled):
        return 0.0
    raise SurveyError(
        f"{WHERE}: column {column} is in {text}; expected "
        f"{'log10 of cm/s2' if label == 'logg' else 'dex'}: convert it or correct its unit."
    )


def _integers(column) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(column).astype(np.int64), 0)


def read_usable(path: Path, use: Use = "comparison") -> Table:
    """A table of labels of which it is certain that it can be used so: units, numbers and columns are looked at.

    A comparison needs teff, logg and feh. Raises SurveyError that names the file.
    """
    labels = read_labels(path)
    try:
        values = take_labels(_nobody(), labels, use).values
    except SurveyError as error:
        raise SurveyError(str(error).replace(WHERE, str(path), 1)) from error
    missing = [name for name in COMPARED if name not in values.colnames]
    if missing:
        raise SurveyError(
            f"{path} has no column {', '.join(missing)} to compare with; it has: {', '.join(labels.colnames)}."
        )
    return labels


def _nobody() -> Table:
    """A star of which nothing is known, with the columns by which the table may name its rows."""
    star = Table({name: [""] for name in ("path", "obsid", "object")})
    star["ra"], star["dec"] = [np.nan], [np.nan]
    return star


def comparison_labels(labels: Table, stars: Table) -> Table:
    """Labels of the survey's own pipeline for these stars, columns teff, logg, feh; NaN where it has none.

    `labels`: what `read_usable` read. Raises SurveyError when it lacks one of the columns.
    """
    values = take_labels(stars, labels, "comparison").values
    return Table({name: np.ma.filled(np.ma.asarray(values[name], float), np.nan) for name in COMPARED})


def labels_beside(spectra: Path) -> Path | None:
    """The label table that lies with the spectra, if there is one that names LASP's labels."""
    index = find_index(spectra)
    if index is None:
        return None
    try:
        return index if "lasp_teff" in read_labels(index).colnames else None
    except SurveyError:
        return None
