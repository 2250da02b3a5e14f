"""Read line lists in MOOG's columns, and judge which of their lines matter in cool stars. Used by the build scripts."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from astrogf.base.air import air_to_vacuum
from astrogf.emulator.model import load
from astrogf.synthesis.continuum.opacity import continuum_opacity
from astrogf.synthesis.gas.abundances import number_fractions
from astrogf.synthesis.gas.eos import equation_of_state
from astrogf.synthesis.gas.species import species_row
from astrogf.synthesis.lines.linelist import LineList
from astrogf.synthesis.lines.pieces import Transitions
from astrogf.synthesis.lines.profile import line_constants, profile_state
from astrogf.synthesis.lines.voigt import voigt

STARS = (
    (3800.0, 4.7, 0.3, 0.0, 1.0), (3800.0, 1.0, 0.0, 0.0, 2.0), (4300.0, 1.5, 0.3, 0.0, 1.8),
    (5000.0, 3.0, 0.3, 0.0, 1.3), (5777.0, 4.44, 0.3, 0.0, 1.0), (7000.0, 4.0, 0.3, 0.0, 1.5),
)  # fmt: skip
"""Where a line has to matter to be kept: teff, logg, feh, alpha, vmic."""
NODE = 100.0  # Angstrom between continuum opacities
CHUNK = 8000


def species(code: str) -> tuple[int, int, int]:
    """(z, ion, isotope) of MOOG's '26.10' and '607.01214' (one digit of charge, two of mass number an atom)."""
    whole, _, decimals = code.partition(".")
    z, charge = int(whole), int(decimals[:1] or "0")
    masses = decimals[1:].ljust(4, "0") if z > 92 else ""
    return z, charge + 1, int(masses[:2]) * 1000 + int(masses[2:4]) if z > 92 else 0


def read_moog(path: Path, medium: str) -> dict[str, np.ndarray]:
    """Columns wavelength (vacuum Angstrom), z, ion, isotope, elow, loggf, vdw of a list after one title line.

    Split on white space, as columns are misaligned in places; the sixth and later fields (dissociation energy,
    depth) are not read. `medium` is that of the file, 'air' or 'vacuum'. Raises ValueError naming a bad line.
    """
    rows, codes = [], []
    with path.open() as file:
        next(file)
        for number, line in enumerate(file, start=2):
            cells = line.split()
            try:
                rows.append([float(cells[i]) for i in (0, 2, 3, 4)])
            except (IndexError, ValueError) as error:
                raise ValueError(f"{path.name}, line {number}: expected five numbers, found {line!r}") from error
            codes.append(cells[1])
    unique, inverse = np.unique(codes, return_inverse=True)
    z, ion, isotope = np.array([species(code) for code in unique]).T[:, inverse]
    wavelength, elow, loggf, vdw = np.array(rows).T
    if medium == "air":
        wavelength = air_to_vacuum(wavelength)
    table = {"wavelength": wavelength, "z": z, "ion": ion, "isotope": isotope, "elow": elow, "loggf": loggf}
    table["vdw"] = np.where(vdw < 0.0, vdw, np.nan)
    order = np.argsort(wavelength, kind="stable")
    return {name: column[order] for name, column in table.items()}


@jax.jit
def _state(structure, parameters, nodes):
    fractions = number_fractions(parameters[2], parameters[3])
    gas = equation_of_state(structure.t, structure.p, structure.xne, fractions)
    absorption, scattering = continuum_opacity(nodes, gas)
    return profile_state(gas, parameters[4]), absorption + scattering


def relevance(lines: LineList) -> np.ndarray:
    """Largest line-centre opacity over continuum in any of `STARS`, at Rosseland optical depths 1e-5 to 3."""
    atmosphere = load("atlas9")
    tau = jnp.logspace(-5, 0.5, 20)
    nodes = np.arange(lines.wavelength[0], lines.wavelength[-1] + NODE, NODE)
    near = np.rint((lines.wavelength - nodes[0]) / NODE).astype(int)
    largest = np.zeros(len(lines))
    for star in STARS:
        state, continuum = _state(atmosphere(jnp.array(star[:4]), tau), jnp.array(star), jnp.asarray(nodes))
        continuum = np.asarray(continuum)
        for first in range(0, len(lines), CHUNK):
            part = slice(first, min(first + CHUNK, len(lines)))
            piece = Transitions.of(LineList(*(column[part] for column in lines)), np.arange(part.stop - first))
            scale, _, a = line_constants(piece, state, jnp.zeros(1))
            ratio = np.asarray(scale * voigt(jnp.zeros_like(a), a)) / continuum[near[part]]
            largest[part] = np.maximum(largest[part], ratio.max(axis=1))
    return largest


def known(z: np.ndarray, ion: np.ndarray) -> np.ndarray:
    """Which species the equation of state has, hydrogen left out (its lines are computed apart)."""
    keep = np.zeros(len(z), bool)
    for code, stage in np.unique(np.stack([z, ion]), axis=1).T:
        try:
            species_row(np.array([code]), np.array([stage]))
        except ValueError:
            continue
        keep |= (z == code) & (ion == stage) & (stage <= 3) & (code != 1)
    return keep
