"""What is known of single stars before the fit: anchors such as the Sun, whose labels hold the zero points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.inference.problem.instrument import own_parameters
from astrogf.inference.problem.options import FitOptions, KnownLabels, StarOptions
from astrogf.inference.problem.parameters import LN_SIGMA, RV, STAR, VMIC, StarPrior, lsf_sigma, vmic_relation
from astrogf.surveys.batch import SpectrumBatch
from astrogf.surveys.catalogues.catalogue import read_labels
from astrogf.surveys.catalogues.labels import take_labels

KNOWN = ("teff", "logg", "feh", "alpha", "vmic", "rv", "resolution")
"""Labels that a belief may speak of; resolution is lambda / FWHM of the whole broadening, the star's own included."""


@dataclass(frozen=True)
class Belief:
    """Labels of one star known from elsewhere, each (mean, sd) in the units of `parameters.STAR`.

    `abundance_sd`: how far its [X/Fe] beyond alpha may lie from 0 (0.01 for the Sun, which defines them); None leaves
    the run's own. `xfe`: single [X/Fe] or isotopes' ('13C') known better or otherwise, (mean, sd). A star with teff and
    logg is an anchor: the search over labels is spared. `line_scatter`: sd (dex) of its own deviations of lines,
    instead of the run's. `anchor` off: a prior like any other, from a catalogue; the star may be refused.
    """

    labels: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    abundance_sd: float | None = None
    xfe: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    line_scatter: float | None = None
    anchor: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError for labels that are none, and for sds that are not positive."""
        for name, (mean, sd) in self.labels.items():
            if name not in KNOWN:
                raise AstrogfError(f"label {name!r} is none of {', '.join(KNOWN)}")
            _check_normal(f"label {name}", mean, sd)
            if name in ("teff", "vmic", "resolution") and not mean > 0:
                raise AstrogfError(f"label {name} has mean {mean:g}; expected a number above 0")
        for name, (mean, sd) in self.xfe.items():
            _check_normal(f"[{name}/Fe]", mean, sd)
        for name in ("abundance_sd", "line_scatter"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise AstrogfError(f"{name} is {value:g}; expected a number above 0")

    @property
    def is_anchor(self) -> bool:
        """Whether the labels are known well enough to start from."""
        return self.anchor and {"teff", "logg"} <= set(self.labels)


NOTHING = Belief()
"""Of a star that nothing is known of: one for all of them."""


def _check_normal(what: str, mean: float, sd: float) -> None:
    if not np.isfinite(mean):
        raise AstrogfError(f"{what} has mean {mean:g}; give [mean, sd], two finite numbers")
    if not (sd > 0 and np.isfinite(sd)):
        raise AstrogfError(f"{what} has sd {sd:g}; give [mean, sd] with an sd above 0")


def star_prior(beliefs: Sequence[Belief], options: FitOptions, n_window: int = 1) -> StarPrior:
    """Priors of all stars: the run's own, and what is known of each instead of them."""
    k = len(options.stars.abundances)
    further = [*np.full(k, options.stars.abundance_sd), *(own.sd for own in own_parameters(options.stars, n_window))]
    mean = np.tile(np.append(options.stars.prior_mean(), np.zeros(len(further))), (len(beliefs), 1))
    sd = np.tile(np.append(options.stars.prior_sd(), further), (len(beliefs), 1))
    follows_vmic, follows_survey = np.ones(len(beliefs)), np.ones(len(beliefs))
    for s, belief in enumerate(beliefs):
        for name, (value, spread) in belief.labels.items():
            if name == "resolution":
                mean[s, LN_SIGMA], sd[s, LN_SIGMA] = float(lsf_sigma(value)), spread / value
                follows_survey[s] = 0.0
            else:
                i = STAR.index(name)
                mean[s, i], sd[s, i] = value, spread
        if "vmic" in belief.labels:
            follows_vmic[s] = 0.0
        if belief.abundance_sd is not None:
            sd[s, len(STAR) : len(STAR) + k] = belief.abundance_sd
        for name, (value, spread) in belief.xfe.items():
            if name not in options.stars.abundances:
                raise AstrogfError(f"[{name}/Fe] of a star is given, but {name} is not among the run's abundances")
            i = len(STAR) + options.stars.abundances.index(name)
            mean[s, i], sd[s, i] = value, spread
    return StarPrior(*(jnp.asarray(x) for x in (mean, sd, follows_vmic, follows_survey)))


def starting_point(belief: Belief, options: FitOptions) -> np.ndarray:
    """Labels to begin with for an anchor, in the order of `parameters.STAR`."""
    theta = options.stars.prior_mean()
    theta[LN_SIGMA] = float(lsf_sigma(options.stars.resolution))
    for name, (value, _) in belief.labels.items():
        if name == "resolution":
            theta[LN_SIGMA] = float(lsf_sigma(value))
        else:
            theta[STAR.index(name)] = value
    if "vmic" not in belief.labels:
        theta[VMIC] = float(vmic_relation(theta[0], theta[1]))
    theta[RV] = belief.labels.get("rv", (0.0, 1.0))[0]
    return theta


def stated_beliefs(labels_of: Mapping[str, KnownLabels], stars: StarOptions) -> dict[str, Belief]:
    """What is said of the stars of stated spectra, by name.

    A spectrum that is broadened to the survey's resolution has that resolution, unless it says otherwise.
    """
    beliefs = {}
    for name, said in labels_of.items():
        labels = {k: getattr(said, k) for k in KNOWN if getattr(said, k) is not None}
        if getattr(said, "degrade", False):
            labels.setdefault("resolution", (stars.resolution, 0.01 * stars.resolution))
        beliefs[name] = Belief(labels, said.abundance_sd, said.xfe, said.line_scatter)
    return beliefs


def catalogue_beliefs(table: Path | Table, batches: Sequence[SpectrumBatch]) -> dict[str, Belief]:
    """Priors of the labels of stars that a catalogue (a file, or `read_labels` of it) knows, by path.

    Raises SurveyError for a table of no use.
    """
    catalogue = table if isinstance(table, Table) else read_labels(table)
    beliefs: dict[str, Belief] = {}
    for batch in batches:
        priors = take_labels(batch.table, catalogue, "prior").priors()
        wanted = {n: v for n, v in priors.items() if n in KNOWN}
        for i, path in enumerate(batch.table["path"]):
            labels = {n: (float(m[i]), float(sd[i])) for n, (m, sd) in wanted.items() if np.isfinite(sd[i])}
            if labels:
                beliefs[str(path)] = Belief(labels, anchor=False)
    return beliefs
