"""What a joint fit can be told, by section: the model, lines, stars, continuum, noise, solver. Defined here alone."""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from astrogf.base.options import Count, Fraction, Names, Normal, NotNegative, Positive, Range, Section, Seed
from astrogf.emulator.options import coverage
from astrogf.synthesis.gas.elements import check_abundance


def _check_covered(name: str, mean: float) -> None:
    """Raises ValueError (what is expected) where the mean of a prior lies where there are no model atmospheres."""
    low, high = coverage().labels[name]
    if not low <= mean <= high:
        raise ValueError(f"a mean of {low:g} to {high:g}, where the emulator has model atmospheres")


def _check_abundances(names: Mapping | tuple[str, ...]) -> None:
    """Raises ValueError (what is expected) for names that are no elements, or the same twice."""
    for name in names:
        try:
            check_abundance(name)
        except ValueError as error:
            raise ValueError(f"elements beyond H and Fe ({error})") from None
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice:
        raise ValueError(f"each element once ({twice!r} is there twice)")


class ModelOptions(Section):
    """The synthetic spectrum.

    The defaults are fine enough for a LAMOST pixel: tests/synthesis/test_synthesis.py says how fine.
    """

    oversampling: Annotated[int, Field(ge=2, le=128)] = Field(36, description="synthesis steps in a survey pixel")
    depths: Annotated[int, Field(ge=16, le=256)] = Field(32, description="layers of an atmosphere")
    tau_top: float = Field(-5.0, description="log10 Rosseland optical depth of the first layer")
    tau_bottom: float = Field(1.5, description="log10 Rosseland optical depth of the last layer")
    angles: Annotated[int, Field(ge=1, le=16)] = Field(2, description="Gauss angles of the flux integral")
    line_cut: Positive = Field(2e-3, description="least line-to-continuum opacity of a line that is computed")
    single: bool = Field(True, description="weak lines and wings in single precision (1e-5 of the flux)")
    molecules: bool = Field(True, description="take the shipped molecular lines along")
    solar: Literal["asplund2009", "asplund2021", "grevesse2007", "grevesse1998"] = Field(
        "asplund2009", description="solar abundances that the labels are relative to"
    )
    leave_out: Annotated[tuple[Range, ...], Field(strict=False)] = Field(
        (), description="wavelengths at rest, vacuum A, that are not fitted: the model is known to be wrong there"
    )
    rv_reach: Positive = Field(500.0, description="largest radial velocity looked for, km/s")
    widest_sigma: Positive = Field(80.0, description="largest broadening (Gaussian sigma) there is room for, km/s")

    @field_validator("tau_top", "tau_bottom")
    @classmethod
    def _has_atmosphere(cls, value: float, info: ValidationInfo) -> float:
        low, high = coverage().log_tau
        top = info.data.get("tau_top", low)
        if not low <= value <= high:
            raise ValueError(f"a number of {low:g} to {high:g}, the layers that the emulator has")
        if info.field_name == "tau_bottom" and value <= top:
            raise ValueError(f"a number above tau_top, which is {top:g}")
        return value


class LineOptions(Section):
    """Which lines get a free log gf, and what is believed of it beforehand."""

    list: str | None = Field(None, description="line list of your own instead of the shipped atoms (see line-lists)")
    format: Literal["vald", "kurucz", "turbospectrum", "moog", "gaia-eso", "ecsv"] | None = Field(
        None, description="format of your list; left out, it is recognised by its content"
    )
    medium: Literal["air", "vacuum"] | None = Field(
        None, description="'air' or 'vacuum' wavelengths, where your list does not say (moog, turbospectrum)"
    )
    scaled: bool | None = Field(None, description="whether log gf of your list hold the fractions of isotopes already")
    isotopes: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {}, description="fractions of isotopes in your list unlike terrestrial ones: { 12C = 0.9, 13C = 0.1 }"
    )
    on_bad: Literal["raise", "skip"] = Field("raise", description="stop at lines that cannot be read, or skip them")
    borrow_damping: bool = Field(True, description="where your list has no damping, take that of the shipped line")
    borrow_structure: bool = Field(
        True, description="where your list has a line as one, split it as the shipped line is (hyperfine, isotopes)"
    )
    prior: str | None = Field(
        None, description="folder of another run, whose posterior of the corrections is the prior here (see anchors)"
    )
    max_lines: Count = Field(1200, description="most lines with a free log gf, the most informative ones first")
    max_ratio: Fraction = Field(0.9, description="a line is freed if its expected posterior/prior sd is below this")
    least_strength: Positive = Field(0.02, description="least line-to-continuum opacity of a line that may be freed")
    model_error: NotNegative = Field(
        0.08, description="what the model gets wrong of a line in all stars alike, dex: prior median of a learned width"
    )
    blends: bool = Field(
        False, description="allow for missing lines under listed ones, as many as gaps show (high resolution)"
    )
    unlisted: NotNegative = Field(0.0, description="Angstrom between lines that the list may lack (0: it is complete)")
    unlisted_where: Literal["everywhere", "suspect"] = Field("everywhere", description="or only where a first fit errs")
    unlisted_levels: Annotated[tuple[Annotated[float, Field(ge=0, le=15)], ...], Field(strict=False, min_length=1)] = (
        Field((3.0,), description="eV: one such line at every place for each lower level")
    )
    unlisted_most: Count = Field(1000, description="most such lines where suspect, at the worst places first")
    least_group: Count = Field(8, description="lines of a species and quality that learn a prior sd of their own")
    prior_sd: Positive = Field(0.2, description="first prior sd of a correction, dex; each group then learns its own")


class StarOptions(Section):
    """Which stars are kept, and what is believed of their labels beforehand. Priors are [mean, sd]."""

    teff_range: Range = Field((4000.0, 7200.0), description="effective temperatures kept, K")
    max_chi2: Positive = Field(6.0, description="most chi2 per pixel of a star kept, list as it came")
    teff_prior: Normal = Field((5500.0, 1500.0), description="effective temperature, K")
    logg_prior: Normal = Field((3.5, 1.5), description="log surface gravity, dex (cgs)")
    feh_prior: Normal = Field((-0.3, 0.7), description="metallicity, dex")
    alpha_prior: Normal = Field((0.1, 0.12), description="alpha enhancement, dex")
    vmic_sd: Positive = Field(0.2, description="sd of microturbulence about its relation with teff and logg, km/s")
    rv_sd: Positive = Field(300.0, description="sd of the radial velocity about 0, km/s")
    resolution: Positive = Field(1800.0, description="resolving power, prior mean (shared by all stars)")
    resolution_sd: Positive = Field(150.0, description="its prior sd")
    resolution_scatter: Positive = Field(0.05, description="sd of a star's own ln resolution about the shared one")
    lsf_nodes: Annotated[int, Field(ge=1, le=9)] = Field(
        1, description="points along a window between which the width of the line-spread function is interpolated"
    )
    lsf_sd: NotNegative = Field(
        0.0, description="sd of ln width at each of them about the star's own (0: one width in all windows)"
    )
    window_rv_sd: NotNegative = Field(
        0.0, description="sd of the velocity of each further window about the first's, km/s (0: the same)"
    )
    abundances: Names = Field((), description="elements whose [X/Fe] beyond alpha each star has of its own")
    abundance_sd: Positive = Field(0.1, description="its prior sd about 0, dex")

    @field_validator("abundances")
    @classmethod
    def _are_elements(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        _check_abundances(value)
        return value

    @field_validator("teff_prior", "logg_prior", "feh_prior", "alpha_prior")
    @classmethod
    def _is_covered(cls, value: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        _check_covered(str(info.field_name).removesuffix("_prior"), value[0])
        return value

    @field_validator("teff_range")
    @classmethod
    def _overlaps(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = coverage().labels["teff"]
        if value[1] <= low or value[0] >= high:
            raise ValueError(f"temperatures of {low:g} to {high:g} K, where the emulator has model atmospheres")
        return value

    @property
    def ln_resolution_sd(self) -> float:
        """Prior sd of ln of the shared resolving power, and so of the shared ln_sigma."""
        return self.resolution_sd / self.resolution

    def prior_mean(self) -> np.ndarray:
        """Means in the order of `parameters.STAR` (vmic and ln_sigma follow the star and the survey)."""
        labels = (self.teff_prior, self.logg_prior, self.feh_prior, self.alpha_prior)
        return np.array([*(mean for mean, _ in labels), 0.0, 0.0, 0.0])

    def prior_sd(self) -> np.ndarray:
        """Standard deviations in the order of `parameters.STAR`."""
        labels = (self.teff_prior, self.logg_prior, self.feh_prior, self.alpha_prior)
        return np.array([*(sd for _, sd in labels), self.vmic_sd, self.resolution_scatter, self.rv_sd])


class ContinuumOptions(Section):
    """The smooth factor between model and observation, marginalised analytically."""

    degree: Annotated[int, Field(ge=0, le=30)] = Field(7, description="degree of the Chebyshev polynomial")
    scale: Positive | None = Field(None, description="Angstrom a degree in wide windows, where that makes more")


class NoiseOptions(Section):
    """What is added to the noise that the file states."""

    inflation: NotNegative | None = Field(
        None, description="model error relative to the flux; left out, it is learned for each release"
    )
    misfit: bool = Field(
        False, description="learn at which wavelengths the model is wrong for all stars, and raise the errors there"
    )
    line_scatter: NotNegative = Field(0.0, description="sd of every spectrum's own deviations of its lines, dex")
    line_drift: NotNegative = Field(
        0.0, description="sd of what the model gets wrong of a line, alike in all stars, per 1000 K from the Sun, dex"
    )
    species_drift: NotNegative = Field(
        0.0, description="sd of what the lines of an ion have in common of that, in addition, dex"
    )

    @field_validator("species_drift")
    @classmethod
    def _needs_line_drift(cls, value: float, info: ValidationInfo) -> float:
        if value > 0.0 and not info.data.get("line_drift", 0.0) > 0.0:
            raise ValueError("0 where line_drift is 0: lines of an ion drift together only where lines drift")
        return value


STEPS = 16
"""Steps of an epoch of svi, where it is not said how many stars make one."""


class SolverOptions(Section):
    """How the fit is computed."""

    star_iterations: Count = Field(6, description="most iterations of the stars on their own")
    joint_iterations: Count = Field(7, description="most iterations of stars and log gf together; epochs of svi")
    tolerance: Positive = Field(0.05, description="converged when steps are below this part of the posterior sd")
    method: Literal["gauss-newton", "svi", "laplace", "nuts"] = Field(
        "gauss-newton",
        description="svi takes the stars batch by batch; laplace and nuts go on from the maximum (small problems, one "
        "window)",
    )
    batch: Count | None = Field(None, description="stars of a step of svi (left out: a sixteenth of all)")
    draws: Count = Field(500, description="draws a chain of nuts, pairs of gradients of laplace")
    seed: Seed = Field(0, description="seed of svi, laplace and nuts")
    chunk: Count = Field(16, description="stars computed at once: more memory, a little faster")
    block: Count = Field(128, description="stars whose equations are in memory at once; a task where there are workers")

    def stars_a_step(self, n_star: int) -> int:
        """Stars of a batch of svi, of a sample of so many."""
        return max(1, min(n_star, self.batch or -(-n_star // STEPS)))


class FitOptions(Section):
    """Everything that `inference.fit.fit` takes besides spectra, lines and what is known of single stars."""

    model: ModelOptions = ModelOptions()
    lines: LineOptions = LineOptions()
    stars: StarOptions = StarOptions()
    continuum: ContinuumOptions = ContinuumOptions()
    noise: NoiseOptions = NoiseOptions()
    solver: SolverOptions = SolverOptions()


class KnownLabels(Section):
    """What is known of the star of a stated spectrum; with teff and logg it is an anchor."""

    abundance_sd: Positive | None = Field(None, description="sd of its [X/Fe] about 0 (0.01 for the Sun), dex")
    line_scatter: Positive | None = Field(
        None, description="sd of its own deviations of lines, dex; needs [noise] line_scatter above 0"
    )
    xfe: dict[str, Normal] = Field({}, description="single [X/Fe] beyond alpha, or isotopes: { C = [0.1, 0.05] }")
    teff: Normal | None = Field(None, description="effective temperature [mean, sd], K")
    logg: Normal | None = Field(None, description="log surface gravity [mean, sd], dex")
    feh: Normal | None = Field(None, description="metallicity [mean, sd], dex")
    alpha: Normal | None = Field(None, description="alpha enhancement [mean, sd], dex")
    vmic: Normal | None = Field(None, description="microturbulence [mean, sd], km/s")
    rv: Normal | None = Field(None, description="radial velocity [mean, sd], km/s")
    resolution: Normal | None = Field(
        None, description="lambda / FWHM of all broadening, the star's own included [mean, sd]"
    )

    @field_validator("xfe")
    @classmethod
    def _are_elements(cls, value: dict[str, Normal]) -> dict[str, Normal]:
        _check_abundances(value)
        return value

    @field_validator("teff", "logg", "feh", "alpha")
    @classmethod
    def _is_covered(cls, value: Normal | None, info: ValidationInfo) -> Normal | None:
        if value is not None:
            _check_covered(str(info.field_name), value[0])
        return value

    @field_validator("vmic", "resolution")
    @classmethod
    def _is_positive(cls, value: Normal | None) -> Normal | None:
        if value is not None and value[0] <= 0:
            raise ValueError("[mean, sd] with a mean above 0")
        return value
