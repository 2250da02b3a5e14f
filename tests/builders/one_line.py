"""Lines as a list without hyperfine structure and isotopes has them."""

import numpy as np

from astrogf.synthesis.lines.isotopes import element_loggf
from astrogf.synthesis.lines.linelist import LineList


def as_one(lines: LineList) -> LineList:
    """Each transition as a list without structure has it: one line at the centre of gravity, gf added up."""
    rows = []
    for number in np.unique(lines.transition):
        parts = lines.take(lines.transition == number)
        weight = 10.0 ** (parts.loggf + parts.log_fraction)
        line = parts.take(np.argsort(-weight)[:1])
        total = element_loggf(parts.isotope, parts.loggf, parts.log_fraction)
        rows.append(line.replace(wavelength=np.array([weight @ parts.wavelength / weight.sum()]),
                                 loggf=np.array([total]), isotope=np.array([0]), log_fraction=np.zeros(1)))  # fmt: skip
    whole = LineList(*(np.concatenate(column) for column in zip(*rows, strict=True)))
    return whole.take(np.argsort(whole.wavelength, kind="stable"))
