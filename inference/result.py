"""What a joint fit returns: arrays and a status, ready to be written and drawn."""

from dataclasses import dataclass, field
from typing import Literal

import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Float, Int

from astrogf.inference.newton.choice import Choice, partners
from astrogf.inference.newton.gaps import gaps_by_window
from astrogf.inference.newton.joint import Joint
from astrogf.inference.newton.misfit import curve, misfit_table
from astrogf.inference.newton.passed import Pass
from astrogf.inference.pixels import ByBlocks
from astrogf.inference.prior import groups as hyper
from astrogf.inference.prior.intervals import NAMES as INTERVALS
from astrogf.inference.prior.intervals import Parts, quantiles
from astrogf.inference.problem import noise
from astrogf.inference.problem.collect import Origin
from astrogf.inference.problem.instrument import names
from astrogf.inference.problem.options import FitOptions
from astrogf.inference.problem.parameters import lsf_sigma, steps
from astrogf.inference.problem.spectra import Noise, Sample, margins
from astrogf.inference.statistics import LineNames, Slopes, Statistics
from astrogf.synthesis.lines.isotopes import element_loggf
from astrogf.synthesis.lines.linelist import LineList

Spectra = Float[np.ndarray, "star pixel"] | ByBlocks


@dataclass(frozen=True)
class FitResult:
    """Stars and log gf fitted jointly, with Laplace errors.

    Units: labels as `label_names` says (K, dex, km/s), corrections in dex, wavelength in vacuum Angstrom. The windows
    of a run follow each other on the axis `pixel`; a star without a spectrum in one has ivar 0 there. What is as long
    as stars times pixels is made a block of stars at a time, from what the fit has put on its shelf: `blocks()` of it,
    or np.asarray for all, as long as that is there.

    - `labels`, `labels_sd`, `labels_covariance` (of each star's labels): marginal over everything else; `flags` says
      what a star leans on ('' if nothing).
    - `lines`: one row a free line, columns wavelength (vacuum A), species ('Fe I'), elow (eV), loggf (of the
      list), correction with posterior_sd and prior_sd (of the log gf), low_95, low_68, high_68, high_95 (the ends of
      its credible intervals, for it is no Gaussian), list_share (how far it follows the list's value), badly_wrong
      (probability that the list is off by more than most of its values); apparent and apparent_sd (what the spectra
      want, the model's own error of the line in it), ratio (apparent_sd over its prior sd), group, components (with
      their wavelengths, and the log of the sum of their gf), strength, and the line it is most correlated with
      (partner, by wavelength; correlation: near -1 only the two together are known).
    - `correction_covariance` of the log gf, `apparent_covariance` of what the spectra want.
    - `selection`: one row a transition that was looked at: whether it is free, and why not.
    - `model_original`: labels refitted with the list as it came; `model_corrected`: the joint fit. Both on the
      scale of `flux`, continuum included. `sigma`: noise sd per pixel, inflation included (inf = not used).
    - `trace`: one dict an iteration (objective, step, seconds ...). `status`: 'converged' or 'max_iterations' ...
    - `hyper`: one row a group of lines, the widths of its prior (`inference.prior.widths`) and their sds.
    - `statistics`: what the spectra say of the shared parameters, priors excluded: sets of stars add up.
    - `misfit`: rest wavelengths at which the errors were raised, and `factors`: by how much the variances of the pixels
      there, see `inference.newton.misfit`.
    - `jacobian_cost_ratio`: seconds of a pass of the joint fit (synthesis, its derivatives by all labels and all lines,
      instrument, normal equations) over seconds of one synthesis, both per spectrum in the same run. The
      synthesis is timed in the coarse search, which also shifts it to some 50 velocities;
      benchmarks/pass_profile.py times it bare.
    """

    table: Table
    label_names: tuple[str, ...]
    labels: Float[np.ndarray, "star label"]
    labels_sd: Float[np.ndarray, "star label"]
    flags: tuple[str, ...]
    wavelength: Float[np.ndarray, " pixel"]
    flux: Spectra
    ivar: Spectra
    sigma: Spectra
    model_original: Spectra
    model_corrected: Spectra
    chi2_original: Float[np.ndarray, " star"]
    chi2_corrected: Float[np.ndarray, " star"]
    n_pixel: Int[np.ndarray, " star"]
    lines: Table
    correction_covariance: Float[np.ndarray, "line line"]
    apparent_covariance: Float[np.ndarray, "line line"]
    shared: dict[str, tuple[float, float]]
    hyper: Table
    status: str
    trace: list[dict] = field(default_factory=list)
    jacobian_cost_ratio: float | None = None
    selection: Table | None = None
    misfit: Table | None = None
    factors: Table | None = None
    statistics: Statistics | None = None
    labels_covariance: Float[np.ndarray, "star label label"] | None = None


OF_GAPS = ("scatter of gaps", "depth of missing lines", "share of missing lines")


def shared_table(
    joint: Joint, sample: Sample, releases: list[np.ndarray], blends: bool = False
) -> dict[str, tuple[float, float]]:
    """Shared parameters that are not corrections: value and sd. With `blends` what the gaps of the spectra show of
    lines that the list lacks, the median of each release."""
    ln_sigma, sd = float(joint.run.shared[-1]), float(jnp.sqrt(joint.posterior.covariance[-1, -1]))
    table = {}
    if np.any(np.asarray(sample.prior.follows_survey) > 0):
        resolution = float(np.exp(lsf_sigma(1.0) - ln_sigma))
        table["resolution"] = (resolution, resolution * sd)
    gaps = gaps_by_window(sample, joint.passed, joint.run.theta, joint.run.noise) if blends else []
    for k, (window, noise_model, kinds) in enumerate(zip(sample.windows, joint.run.noise, releases, strict=True)):
        where = f", window {k + 1}" if len(sample.windows) > 1 else ""
        for r, name in enumerate(kinds):
            mine = np.flatnonzero(window.release == r)
            if len(mine):
                table[f"noise scale, {name}{where}"] = (float(noise_model.scale[mine[0]]), float("nan"))
                table[f"inflation, {name}{where}"] = (float(noise_model.inflation[mine[0]]), float("nan"))
                if window.problem.scattered:
                    table[f"line scatter, {name}{where}"] = (
                        float(np.asarray(noise_model.scatter)[mine[0]]),
                        float("nan"),
                    )
                if blends and np.isfinite(gaps[k][mine]).any():
                    middle = np.nanmedian(gaps[k][mine], axis=0)
                    table |= {
                        f"{what}, {name}{where}": (float(value), float("nan"))
                        for what, value in zip(OF_GAPS, middle, strict=True)
                    }
    return table


def line_table(lines: LineList, strength, chosen: Choice, joint: Joint, groups: hyper.Groups, options) -> Table:
    """One row a free transition, named by its strongest component."""
    n = len(chosen.leader)
    leaders = lines.take(chosen.leader)
    posterior, loggf = joint.posterior, known_loggf(joint, groups)
    apparent_sd = np.sqrt(np.diag(np.asarray(posterior.covariance)))[:n]
    means = groups.means(options.lines.model_error)
    partner, correlation = partners(np.asarray(posterior.covariance)[:n, :n])
    widths = posterior.widths
    prior = np.hypot(widths.sd[groups.member], means.list_sd[means.of])
    without_blends = np.sqrt(prior**2 + widths.phi[groups.member] ** 2 + means.model_sd[means.of] ** 2)
    parts = [np.flatnonzero(lines.transition == t) for t in leaders.transition]
    table = Table(
        {
            "wavelength": leaders.wavelength,
            "species": leaders.species(),
            "elow": leaders.elow,
            "loggf": leaders.loggf,
            "correction": loggf.mean,
            "posterior_sd": np.sqrt(np.diag(loggf.covariance)),
            **dict(zip(INTERVALS, loggf.ends, strict=True)),
            "prior_sd": prior,
            "list_share": loggf.list_share,
            "badly_wrong": loggf.wide,
            **({} if loggf.blended is None else {"blended": loggf.blended}),
            "apparent": np.asarray(posterior.mean)[:n],
            "apparent_sd": apparent_sd,
            "ratio": apparent_sd / without_blends,
            "group": [groups.names[g] for g in groups.member],
            "components": [len(rows) for rows in parts],
            "component_wavelengths": [" ".join(f"{w:.4f}" for w in lines.wavelength[rows]) for rows in parts],
            "loggf_total": [
                element_loggf(*(x[rows] for x in (lines.isotope, lines.loggf, lines.log_fraction))) for rows in parts
            ],
            "partner": np.where(partner >= 0, leaders.wavelength[partner], np.nan),
            "correlation": correlation,
            "strength": strength[chosen.leader],
        }
    )
    table["wavelength"].unit, table["elow"].unit = "Angstrom", "eV"
    if joint.run.drift is not None:
        step = joint.passed.slope_step(np.asarray(posterior.mean) - np.asarray(joint.run.shared))
        variance = np.diag(joint.passed.whole_covariance(posterior.covariance))[len(posterior.mean) :]
        table["drift"], table["drift_sd"] = joint.run.drift.slope + step, np.sqrt(variance)
    for name in ("loggf", "correction", "posterior_sd", *INTERVALS, "prior_sd", "apparent", "apparent_sd"):
        table[name].unit = "dex"
    return table


def known_loggf(joint: Joint, groups: hyper.Groups) -> hyper.LogGf:
    """What a fit knows of the log gf; where the widths of the prior could not be integrated over, that they are as most
    probable and every line's error is one Normal."""
    p, n = joint.posterior, len(groups.member)
    if p.loggf is not None:
        return p.loggf
    own, shift = p.widths.phi[groups.member] ** 2, np.zeros(n)
    if joint.blends is not None:
        own, shift = own + joint.blends.variance, joint.blends.share * joint.blends.shift
    k = np.clip(1.0 - own * p.weight, 0.0, 1.0)
    covariance = np.asarray(p.covariance)[:n, :n] * k[:, None] * k
    covariance[np.arange(n), np.arange(n)] += k * own
    share = np.clip(np.diag(covariance) * p.weight / np.maximum(k, 1e-12), 0.0, 1.0)
    mean = groups.line_mean + k * (np.asarray(p.mean)[:n] - groups.line_mean - shift)
    normal = Parts(np.ones((1, n)), mean[None], np.sqrt(np.diag(covariance))[None])
    return hyper.LogGf(mean, covariance, share, p.widths.share[groups.member], quantiles(normal))


def width_table(posterior: hyper.Posterior, groups: hyper.Groups) -> Table:
    """One row a group: its lines, the widths of its prior, and their sds (nan where they were not integrated over)."""
    table = Table({"group": groups.names, "lines": np.bincount(groups.member, minlength=len(groups.names))})
    for name, value in posterior.widths._asdict().items():
        table[name] = value
        sd = None if posterior.widths_sd is None else getattr(posterior.widths_sd, name)
        table[f"{name}_sd"] = np.full(len(value), np.nan) if sd is None else np.where(np.isnan(groups.held), sd, np.nan)
        for column in (name, f"{name}_sd"):
            table[column].format = ".4f"
            if name != "share":
                table[column].unit = "dex"
    return table


def star_flags(finite, margin: Float[np.ndarray, " star"], outliers) -> tuple[str, ...]:
    """What a star leans on, in words."""
    flags = []
    for s in range(len(margin)):
        words = []
        if not finite[s]:
            words.append("no finite model in the joint fit: left out of it")
        if margin[s] < 0.02:
            words.append("at the edge of the emulator's domain")
        if outliers[s] > 0.03:
            words.append(f"{100 * outliers[s]:.0f}% outlying pixels")
        flags.append("; ".join(words))
    return tuple(flags)


def observed_models(sample: Sample, origin: Origin, passed: Pass) -> ByBlocks:
    """The models of a pass on the scale of the spectra as they came, windows after each other."""

    def rows(i: int, k: int) -> Float[np.ndarray, "row pixel"]:
        row = passed.blocks[i].get().rows[k]
        return np.asarray(row.model) * origin.levels[k][sample.parts[i].rows[k], None]

    return ByBlocks(sample, rows, np.nan)


def observed(sample: Sample, origin: Origin, name: Literal["flux", "ivar"]) -> ByBlocks:
    """The spectra as they came; 0 where a star has none."""

    def rows(i: int, k: int) -> Float[np.ndarray, "row pixel"]:
        return getattr(origin.batches[k], name)[sample.parts[i].rows[k]]

    return ByBlocks(sample, rows, 0.0)


def pixel_sd(sample: Sample, noise_models: Noise, i: int, k: int) -> Float[np.ndarray, "row pixel"]:
    """Of the spectra of a block in a window, on the scale of the fit; inf where a pixel is not used."""
    part, data = sample.parts[i], sample.parts[i].data.get()[k]
    model = noise.NoiseModel(*(x[part.rows[k]] for x in noise.as_numpy(noise_models[k])))
    sd = np.sqrt(noise.variances(data.flux, data.ivar, model))
    return np.where(np.asarray(data.ivar) > 0, sd, np.inf)


def outliers(sample: Sample, noise_models: Noise, passed: Pass) -> list[Int[np.ndarray, " row"]]:
    """Window by window: how many pixels of every row lie beyond 5 sd."""
    outlying = [np.zeros(len(w.star), int) for w in sample.windows]
    for i, (part, terms) in enumerate(zip(sample.parts, passed.terms(), strict=True)):
        for k, (mine, data, row) in enumerate(zip(part.rows, part.data.get(), terms.rows, strict=True)):
            if row is not None:
                beyond = np.abs(np.asarray(data.flux) - row.model) > 5 * pixel_sd(sample, noise_models, i, k)
                outlying[k][mine] = beyond.sum(1)
    return outlying


def assemble(
    sample: Sample,
    origin: Origin,
    strength: Float[np.ndarray, " line"],
    chosen: Choice,
    groups: hyper.Groups,
    joint: Joint,
    original: Pass,
    options: FitOptions,
) -> FitResult:
    """Put everything on the scale of the spectra as they came."""
    step = steps(sample.n_own)
    covariance = joint.passed.own_covariance(joint.posterior.covariance) * step[:, None] * step
    theta = np.asarray(joint.run.theta)
    outlying = outliers(sample, joint.run.noise, joint.passed)

    def sigma(i: int, k: int) -> Float[np.ndarray, "row pixel"]:
        return pixel_sd(sample, joint.run.noise, i, k) * origin.levels[k][sample.parts[i].rows[k], None]

    n_pixel, n = sample.n_pixel, len(chosen.leader)

    return FitResult(
        table=origin.table,
        label_names=names(options.stars, len(sample.windows)),
        labels=theta,
        labels_sd=np.sqrt(np.diagonal(covariance, 0, 1, 2)),
        labels_covariance=covariance,
        flags=star_flags(
            np.isfinite(joint.passed.log_posterior),
            margins(sample, joint.run.theta),
            sample.total(outlying) / np.maximum(n_pixel, 1),
        ),
        wavelength=np.concatenate([np.asarray(b.wavelength) for b in origin.batches]),
        flux=observed(sample, origin, "flux"),
        ivar=observed(sample, origin, "ivar"),
        sigma=ByBlocks(sample, sigma, np.inf),
        model_original=observed_models(sample, origin, original),
        model_corrected=observed_models(sample, origin, joint.passed),
        chi2_original=np.asarray(original.chi2),
        chi2_corrected=np.asarray(joint.passed.chi2),
        n_pixel=n_pixel,
        lines=line_table(origin.lines, strength, chosen, joint, groups, options),
        correction_covariance=known_loggf(joint, groups).covariance,
        apparent_covariance=np.asarray(joint.posterior.covariance)[:n, :n],
        shared=shared_table(joint, sample, origin.releases, options.lines.blends),
        hyper=width_table(joint.posterior, groups),
        status=joint.status,
        trace=joint.run.trace,
        misfit=misfit_table(sample, theta, joint.run.noise, [b.wavelength for b in origin.batches]),
        factors=curve(sample, theta, joint.run.noise, [np.asarray(b.wavelength) for b in origin.batches]),
        statistics=shared_statistics(origin.lines.take(chosen.leader), joint, sample.n_star),
    )


def shared_statistics(leaders: LineList, joint: Joint, n_star: int) -> Statistics:
    """(A, b) of the stars at the end of the fit, with what tells the corrections apart."""
    names_of = LineNames(leaders.wavelength, leaders.species(), leaders.elow, leaders.loggf)
    reduced, slopes, drift = joint.passed.reduced, None, joint.run.drift
    if drift is not None and drift.prior is not None and joint.passed.drift is not None:
        constant, slope, covariance = (np.asarray(x) for x in joint.passed.drift)
        own, common, ion = drift.prior
        slopes = Slopes(constant, slope, covariance, drift.slope, np.array(own), np.array(common), ion)
    return Statistics(
        np.asarray(reduced.precision), np.asarray(reduced.gradient), np.asarray(joint.run.shared), names_of,
        ("ln_sigma",), n_star, joint.blends, slopes,
    )  # fmt: skip
