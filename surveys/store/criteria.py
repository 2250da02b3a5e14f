"""Which spectra of a store or batch are wanted: S/N, labels, place in the sky, quality."""

from collections import Counter
from dataclasses import dataclass, field

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astrogf.surveys.spectrum import SurveyError


@dataclass(frozen=True)
class Criteria:
    """Conditions that all have to hold; give it to stream.stream as `select`, or call it with a table.

    snr: lowest and highest S/N. classes: of the survey's own, "" stands for a spectrum without one; None takes all.
    surveys, releases: names; None takes all. ranges: column -> lowest and highest value, ends included; a NaN is
    outside. Any column counts, those of `labels` (labels.Labels.values, rows as the table's) before the table's.
    box: lowest and highest right ascension and declination (deg); with the first above the second the box goes
    through 0. cone: right ascension, declination and radius (deg). min_good_fraction: of the grid's pixels.
    """

    snr: tuple[float, float] = (0.0, np.inf)
    classes: tuple[str, ...] | None = ("STAR", "")
    surveys: tuple[str, ...] | None = None
    releases: tuple[str, ...] | None = None
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    box: tuple[float, float, float, float] | None = None
    cone: tuple[float, float, float] | None = None
    min_good_fraction: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high) in {"snr": self.snr, **self.ranges}.items():
            if not low <= high:
                raise SurveyError(f"{name} from {low:g} to {high:g} holds nothing: give the lower value first.")
        if self.box is not None and not (-90 <= self.box[2] <= self.box[3] <= 90):
            raise SurveyError(f"box = {self.box}: declinations rise and lie in -90 to 90 degrees.")
        if self.cone is not None and not (-90 <= self.cone[1] <= 90 and 0 < self.cone[2] <= 180):
            raise SurveyError(f"cone = {self.cone}: right ascension, declination and a radius, in degrees, are needed.")

    def __call__(self, table: Table, labels: Table | None = None) -> np.ndarray:
        """True for every row that is wanted."""
        return self.why_not(table, labels) == ""

    def why_not(self, table: Table, labels: Table | None = None) -> np.ndarray:
        """The first condition that each row fails, "" if none."""
        out = np.full(len(table), "", dtype=object)
        for name, ok in self._conditions(table, labels):
            out[(out == "") & ~ok] = name
        return out.astype(str)

    def counts(self, table: Table, labels: Table | None = None) -> dict[str, int]:
        """How many rows are wanted ("") and how many fail first for each condition."""
        return dict(Counter(self.why_not(table, labels).tolist()).most_common())

    def _conditions(self, table: Table, labels: Table | None):
        for name, wanted in (("class", self.classes), ("survey", self.surveys), ("release", self.releases)):
            if wanted is not None:
                kept = {w.upper() for w in wanted}
                yield name, np.array([str(v).upper() in kept for v in _column(table, None, name)], dtype=bool)
        if self.snr != (0.0, np.inf):
            yield "snr", _between(_column(table, None, "snr"), *self.snr)
        if self.min_good_fraction > 0:
            yield "good_fraction", _between(_column(table, None, "good_fraction"), self.min_good_fraction, np.inf)
        if self.box is not None or self.cone is not None:
            ra, dec = (np.asarray(_column(table, None, c), dtype=np.float64) for c in ("ra", "dec"))
            if self.box is not None:
                west, east, south, north = self.box
                inside = _between(ra, west, east) if west <= east else _between(ra, west, 360) | _between(ra, 0, east)
                yield "box", inside & _between(dec, south, north)
            if self.cone is not None:
                placed = np.isfinite(ra) & np.isfinite(dec)
                sky = SkyCoord(np.where(placed, ra, 0.0) * u.deg, np.where(placed, dec, 0.0) * u.deg)
                centre = SkyCoord(self.cone[0] * u.deg, self.cone[1] * u.deg)
                yield "cone", placed & (sky.separation(centre).deg <= self.cone[2])
        for name, (low, high) in self.ranges.items():
            yield name, _between(_column(table, labels, name), low, high)


def _column(table: Table, labels: Table | None, name: str):
    for source in (labels, table):
        if source is not None and name in source.colnames:
            if len(source) != len(table):
                raise SurveyError(f"The labels have {len(source)} rows, the spectra {len(table)}: match them first.")
            return source[name]
    there = [*(labels.colnames if labels is not None else ()), *table.colnames]
    raise SurveyError(f"There is no column {name!r} to select by; there are: {', '.join(there)}.")


def _between(values, low: float, high: float) -> np.ndarray:
    numbers = np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)
    return (numbers >= low) & (numbers <= high)
