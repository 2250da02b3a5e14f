"""Columns of a table of lines in the units of `Records`, whatever units they are given in; damping as logarithms."""

import re
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table
from jaxtyping import Float

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.lineio.checks import placeholder, unknown
from astrogf.synthesis.lineio.records import Problems, numbers

SPELLED = {
    u.AA: ("a", "å", "ang", "angs", "angstrom", "angstroms", "ångström", "ångstrom", "0.1nm", "10**-10m"),
    u.nm: ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
    u.um: ("um", "µm", "μm", "mum", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"),
    u.cm**-1: (
        "cm-1",
        "cm^-1",
        "cm**-1",
        "cm^{-1}",
        "cm**(-1)",
        "cm^(-1)",
        "1/cm",
        "/cm",
        "invcm",
        "kayser",
        "kaysers",
    ),
    u.eV: ("ev", "electronvolt", "electronvolts"),
    u.Unit("2 Ry"): ("hartree", "hartrees"),
    u.Ry: ("ry", "ryd", "rydberg", "rydbergs"),
    u.s**-1: ("s-1", "1/s", "/s", "s^-1", "s**-1", "sec-1", "1/sec", "rad/s", "rads-1", "rad/sec"),
}
"""Spellings of units, in small letters without blanks, that astropy does not know or takes for something else."""
_UNIT = {spelling: unit for unit, spellings in SPELLED.items() for spelling in spellings}
PER_SECOND, PER_SECOND_CM3 = u.s**-1, u.cm**3 / u.s
LARGEST_LOG = 20.0
"""log10 of a radiative width (rad/s) is below this, and a width itself, where it is more than noise, far above."""
SMALLEST_WIDTH = 1e3
LARGEST_WIDTH = 1e16
"""rad/s; natural widths of lines lie between these where they are listed as such."""


def plain_name(name: str) -> str:
    """A column's name in small letters and digits alone: 'Rad-damp' is 'raddamp'."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


class TableColumns:
    """The columns of `table` by their meaning; `names` has the table's name of each. Rows count from 1.

    `logs` says that the format is known to hold logarithms of widths, whatever units its columns name.
    """

    def __init__(
        self, table: Table, names: dict[str, str], path: Path, problems: Problems, *, logs: bool = False
    ) -> None:
        self.table, self.names, self.path, self.problems, self.logs = table, names, path, problems, logs
        self.rows = np.arange(1, len(table) + 1)

    def number(self, key: str, default: float = np.nan, required: bool = False) -> Float[np.ndarray, " row"]:
        """A column as it stands: masked, blank or not a number is `default`, or a fault of its row if `required`.

        Infinite numbers are a fault always. Of columns of arrays the first place counts.
        """
        if key not in self.names:
            return np.full(len(self.table), default)
        data = self.table[self.names[key]]
        data = data[:, 0] if data.ndim > 1 else data
        if data.dtype.kind in "fiub":
            values = np.asarray(np.ma.filled(np.ma.asarray(data).astype(float), np.nan), float)
        else:
            texts = np.array([_text(value) for value in data], dtype=str)
            empty = np.isin(np.char.lower(np.char.strip(texts)), ("", "nan", "null", "none", "n/a", "--"))
            values = np.full(len(texts), np.nan)
            values[~empty] = numbers(texts[~empty], self.rows[~empty], self.names[key], self.problems)
        for i in np.flatnonzero(np.isinf(values) | (np.isnan(values) & required)):
            self.problems.add(self.rows[i], self.names[key], f"{values[i]}", "a number")
        return np.where(np.isfinite(values), values, default)

    def text(self, key: str) -> list[str]:
        """A column of texts; numbers with five decimals, blank where masked."""
        data = self.table[self.names[key]]
        return [_text(value) for value in (data[:, 0] if data.ndim > 1 else data)]

    def wavelength(self, key: str, medium: str | None) -> Float[np.ndarray, " row"]:
        """Wavelengths in Angstrom; wavenumbers, frequencies and energies only if they are not of air."""
        unit = self.unit(key)
        if unit is not None and not unit.is_equivalent(u.m) and medium == "air":
            raise AstrogfError(
                f"{self.path}: column {self.names[key]} is in {unit}, which has no meaning in air; give wavelengths"
            )
        return self._converted(key, u.AA, (u.m, u.m**-1, u.Hz, u.J))

    def energy(self, key: str) -> Float[np.ndarray, " row"]:
        """Energies in eV; wavenumbers and frequencies stand for energies."""
        return self._converted(key, u.eV, (u.J, u.m**-1, u.Hz))

    def _converted(self, key: str, to: u.UnitBase, allowed: tuple[u.UnitBase, ...]) -> Float[np.ndarray, " row"]:
        values, unit = self.number(key, required=True), self.unit(key)
        if unit is None:
            return values
        if not any(unit.is_equivalent(a) for a in allowed):
            raise AstrogfError(
                f"{self.path}: column {self.names[key]} is in {unit}, expected {to} or what can be converted to it; "
                "correct its unit"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((values * unit).to_value(to, equivalencies=u.spectral()), float)

    def unit(self, key: str) -> u.UnitBase | None:
        """The unit of a column, None where it has none (or is a mere number). Raises AstrogfError if unknown."""
        return self._unit(key)[0]

    def _unit(self, key: str) -> tuple[u.UnitBase | None, bool]:
        """Unit, and whether it says that the column holds logarithms: dex, dex(1/s), [s-1], log(s-1)."""
        given = self.table[self.names[key]].unit
        if given is None:
            return None, False
        if isinstance(given, u.function.FunctionUnitBase):
            return None if given.physical_unit == u.dimensionless_unscaled else given.physical_unit, True
        text = str(given).strip()
        match = re.fullmatch(r"\[(.*)\]|(?:log|log10|lg|dex)\s*\(?(.*?)\)?", text)
        inner = "".join((match[1] or match[2] or "") if match else text).replace(" ", "").lower()
        if inner in _UNIT:
            return _UNIT[inner], match is not None
        if inner in ("", "-", "dex", "unitless", "dimensionless", "none") or given == u.dimensionless_unscaled:
            return None, match is not None or "dex" in text
        unit = u.Unit(match[1] or match[2], parse_strict="silent") if match else given
        if isinstance(unit, u.UnrecognizedUnit):
            raise AstrogfError(f"{self.path}: column {self.names[key]} is in {text!r}, an unknown unit; correct it")
        return unit, match is not None

    def _scale(self, key: str, expected: tuple[u.UnitBase, ...]) -> tuple[float, bool, bool]:
        """What turns a linear column into CGS; whether unit or name say that it is linear, and that it is logs."""
        unit, logs = self._unit(key)
        logs = logs or self.logs or plain_name(self.names[key]).startswith(("log", "lg"))
        if unit is None or unit == u.dimensionless_unscaled:
            return 1.0, False, logs
        if u.Hz in unit.bases and not logs:
            raise AstrogfError(
                f"{self.path}: column {self.names[key]} is in {unit}: give its widths in rad/s, 2 pi times those in Hz"
            )
        for wanted in expected:
            if unit.is_equivalent(wanted, equivalencies=u.dimensionless_angles()):
                return float(unit.to(wanted, equivalencies=u.dimensionless_angles())), not logs, logs
        raise AstrogfError(
            f"{self.path}: column {self.names[key]} is in {unit}, expected {expected[0]}; correct its unit"
        )

    def log_gamma_rad(self, key: str = "rad") -> Float[np.ndarray, " row"]:
        """log10 of radiative widths (rad/s), nan where unknown (0, a placeholder, nothing), from logs or widths.

        A column whose name (log...) or unit (dex) says so holds logs, one with the unit of a width holds widths;
        another holds logs if no number is above 20, widths if all are those of lines. Raises AstrogfError where numbers
        and unit, or numbers among themselves, contradict each other.
        """
        if key not in self.names:
            return np.full(len(self.table), np.nan)
        values = unknown(self.number(key))
        factor, linear, logs = self._scale(key, (PER_SECOND,))
        known = values[np.isfinite(values)]
        if logs or not len(known):
            return values  # `check_ranges` has what is no log
        if np.all((known * factor > SMALLEST_WIDTH) & (known * factor < LARGEST_WIDTH)):
            return np.log10(values * factor)
        if linear or np.any(np.abs(known) > LARGEST_LOG):
            raise self._contradiction(
                key, known, f"{SMALLEST_WIDTH:g} to {LARGEST_WIDTH:g} rad/s", "of at most 20, named log_gamma_rad"
            )
        return values

    def log_gamma4(self, key: str = "stark") -> Float[np.ndarray, " row"]:
        """log10 of Stark widths (rad/s per electron and cm^-3), nan where unknown, from logs or from widths.

        Such a width is far below 1 and its log negative, which tells them apart. Raises AstrogfError for a mixture.
        """
        if key not in self.names:
            return np.full(len(self.table), np.nan)
        values = unknown(self.number(key))
        factor, linear, logs = self._scale(key, (PER_SECOND_CM3, PER_SECOND))
        known = values[np.isfinite(values)]
        if logs or (np.all(known < 0.0) and not linear):
            return values
        if np.all((known > 0.0) & (known * factor < 1.0)):
            return np.log10(values * factor)
        raise self._contradiction(key, known, "between 0 and 1 rad/s cm^3", "below 0, named log_gamma_stark")

    def vdw(self, key: str = "vdw") -> Float[np.ndarray, " row"]:
        """Van der Waals damping as `complete_damping` takes it, nan where unknown; small widths become their logs."""
        if key not in self.names:
            return np.full(len(self.table), np.nan)
        values = self.number(key)
        values = np.where((values == 0.0) | placeholder(-values), np.nan, values)
        factor = self._scale(key, (PER_SECOND_CM3, PER_SECOND))[0]
        width = (values > 0.0) & (values * factor < 1e-3)
        for i in np.flatnonzero(width & (values * factor < 1e-12)):
            expected = "log10 of a width per hydrogen atom (rad/s), ABO sigma.alpha, or 0 if unknown"
            self.problems.add(self.rows[i], self.names[key], f"{values[i]:g}", expected)
        return np.where(width, np.log10(np.where(width, values * factor, 1.0)), values)

    def loggf(self, key: str = "loggf") -> Float[np.ndarray, " row"]:
        """log gf; of a column named gf its logarithm. Raises AstrogfError for one that has a unit."""
        if (unit := self.unit(key)) is not None:
            raise AstrogfError(f"{self.path}: column {self.names[key]} is in {unit}, expected none; correct its unit")
        values = self.number(key, required=True)
        if plain_name(self.names[key]) != "gf":
            return values
        for i in np.flatnonzero(values <= 0.0):
            self.problems.add(self.rows[i], self.names[key], f"{values[i]:g}", "a gf above 0")
        return np.log10(np.where(values > 0.0, values, np.nan))

    def _contradiction(self, key: str, known: np.ndarray, widths: str, logs: str) -> AstrogfError:
        return AstrogfError(
            f"{self.path}: column {self.names[key]} holds numbers from {known.min():g} to {known.max():g}, neither all "
            f"widths ({widths}) nor all logarithms ({logs}; 0 where unknown); correct it or its unit"
        )


def _text(value: object) -> str:
    if value is np.ma.masked or value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1").strip()
    return f"{float(value):.5f}" if isinstance(value, float | np.floating | int | np.integer) else str(value).strip()
