"""Records of any format made a `LineList`: medium, isotopes, damping and transitions decided."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from astrogf.base.air import air_to_vacuum
from astrogf.base.errors import AstrogfError
from astrogf.synthesis.lineio.checks import check_isotopes, check_ranges, placeholder, shares, unknown
from astrogf.synthesis.lineio.records import Medium, OnBad, Problems, Records
from astrogf.synthesis.lineio.transitions import transitions
from astrogf.synthesis.lineio.words import ARGUMENTS, Words
from astrogf.synthesis.lines.damping import complete_damping
from astrogf.synthesis.lines.isotopes import Ratios, natural_share
from astrogf.synthesis.lines.linelist import LineList


def decide_medium(path: Path, stated: Medium | None, given: Medium | None, words: Words = ARGUMENTS) -> Medium:
    """The medium of a file's wavelengths. Raises ValueError where nobody says, or file and caller disagree."""
    if given not in (None, "air", "vacuum"):
        raise AstrogfError(f"{words.given('medium', given)}: expected 'air' or 'vacuum'")
    if stated is None and given is None:
        raise AstrogfError(
            f"{path}: the format does not say if wavelengths are air or vacuum; {words.give('medium', 'air', 'vacuum')}"
        )
    if stated is not None and given is not None and stated != given:
        raise AstrogfError(
            f"{path}: the file has {stated} wavelengths but {words.given('medium', given)} was said; "
            f"{words.drop('medium')}"
        )
    return given if stated is None else stated  # type: ignore[return-value]


def complete(
    records: Records,
    path: Path,
    problems: Problems,
    *,
    medium: Medium | None,
    isotopes: Ratios | None,
    scaled: bool | None,
    on_bad: OnBad,
) -> tuple[LineList, np.ndarray]:
    """The `LineList` of a file's records and, of each of its lines, the number of the record.

    Unreadable rows are settled as `on_bad` says; species outside the model are left out with one warning.
    """
    records = records._replace(
        log_gamma_rad=unknown(records.log_gamma_rad),
        log_gamma4=unknown(records.log_gamma4),
        vdw=np.where((records.vdw == 0.0) | placeholder(-records.vdw), np.nan, records.vdw),
    )
    check_ranges(records, problems)
    readable = ~np.isin(records.row, list(problems.rows)) & (records.z != 0)
    scaled = _decide_scaling(path, records.take(readable), scaled, problems.words)
    check_isotopes(records.take(readable), problems, isotopes, scaled)
    medium = decide_medium(path, records.stated, medium, problems.words)
    problems.settle(on_bad)
    index = np.flatnonzero(~np.isin(records.row, list(problems.rows)))
    outside = index[records.z[index] == 0]
    if len(outside):
        counts = Counter(records.name[outside].tolist())
        listed = ", ".join(f"{name} ({n})" for name, n in counts.most_common(8)) + (", ..." if len(counts) > 8 else "")
        warnings.warn(
            f"{path}: left out {len(outside)} lines of species outside the model: {listed}", UserWarning, stacklevel=3
        )
    index = index[records.z[index] != 0]
    wavelength = records.wavelength[index]
    wavelength = air_to_vacuum(wavelength) if medium == "air" else wavelength
    order = np.argsort(wavelength, kind="stable")
    index, wavelength = index[order], wavelength[order]
    r = records.take(index)
    share = shares(r.z, r.isotope, isotopes, scaled)
    transition = transitions(r.z, r.ion, r.isotope, r.elow, wavelength, r.label)
    damping = complete_damping(
        r.z,
        r.ion,
        wavelength,
        r.elow,
        _total_loggf(r, transition, scaled),
        gup=r.gup,
        log_gamma_rad=r.log_gamma_rad,
        vdw=r.vdw,
        log_gamma4=r.log_gamma4,
        orbitals=r.orbitals,
    )
    lines = LineList(
        wavelength=wavelength,
        z=r.z,
        ion=r.ion,
        isotope=r.isotope,
        elow=r.elow,
        loggf=r.loggf,
        log_fraction=share,
        log_gamma_rad=damping.log_gamma_rad,
        log_gamma6=damping.log_gamma6,
        gamma6_exponent=damping.gamma6_exponent,
        log_gamma4=damping.log_gamma4,
        quality=damping.quality,
        transition=transition,
        gup=r.gup,
    )
    return lines, index


def _total_loggf(records: Records, transition: np.ndarray, scaled: bool) -> np.ndarray:
    """log gf of the whole transition, which sets the classical width, of each component.

    Where the format has it not, the components of an isotope are added, without the share of the isotope.
    """
    if records.total is not None:
        return records.total
    whole = records.loggf - (natural_share(records.z, records.isotope) if scaled else 0.0)
    _, group = np.unique(np.stack([transition, records.isotope]), axis=1, return_inverse=True)
    group = group.ravel()
    return np.log10(np.bincount(group, weights=10.0**whole))[group] if len(group) else whole


def _decide_scaling(path: Path, records: Records, given: bool | None, words: Words = ARGUMENTS) -> bool:
    if records.scaled is not None and given is not None and records.scaled != given:
        said = "" if records.scaled else "not "
        raise AstrogfError(
            f"{path}: the file says that its log gf are {said}scaled by isotopic fractions, but "
            f"{words.given('scaled', given)} was said; {words.drop('scaled')}"
        )
    if records.scaled is None and given is None and np.any(records.isotope != 0):
        raise AstrogfError(
            f"{path}: it names isotopes but does not say if its log gf hold their fractions (VALD says so in the line "
            f"that begins '* oscillator strengths were'); {words.give('scaled', True, False)}"
        )
    return bool(records.scaled if given is None else given)
