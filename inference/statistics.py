"""Sufficient statistics of a set of stars: what its spectra say of the shared parameters, kept without the spectra.

Near the point p of the linearisation, log L(x) = b'(x - p) - (x - p)'A(x - p) / 2 + const, priors excluded. (A, b) of
two sets of stars add up, and priors and hyperparameters are put on afterwards.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Int
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from numpyro.infer import MCMC, NUTS

from astrogf.base.errors import AstrogfError
from astrogf.inference.newton import groups as hyper
from astrogf.inference.problem.arrow import Reduced
from astrogf.synthesis.lines.identity import written

VERSION = 1


class LineNames(NamedTuple):
    """What tells the corrections apart: vacuum Angstrom, 'Fe I', eV, and the list's log gf that is corrected."""

    wavelength: Float[np.ndarray, " line"]
    species: np.ndarray
    elow: Float[np.ndarray, " line"]
    loggf: Float[np.ndarray, " line"]


class Statistics(NamedTuple):
    """(A, b) at `point`. Shared parameters: a correction for each of `lines`, then those named in `others`."""

    precision: Float[np.ndarray, "shared shared"]
    gradient: Float[np.ndarray, " shared"]
    point: Float[np.ndarray, " shared"]
    lines: LineNames
    others: tuple[str, ...]
    n_star: int

    def at(self, point: Float[np.ndarray, " shared"]) -> "Statistics":
        """The same quadratic about another point."""
        moved = self.gradient - self.precision @ (point - self.point)
        return self._replace(gradient=moved, point=np.asarray(point))


def save(path: Path, statistics: Statistics) -> None:
    """Write an npz file."""
    s = statistics
    np.savez_compressed(
        path, version=VERSION, precision=s.precision, gradient=s.gradient, point=s.point, n_star=s.n_star,
        wavelength=s.lines.wavelength, species=np.asarray(s.lines.species, dtype=str), elow=s.lines.elow,
        loggf=s.lines.loggf, others=np.array(s.others, dtype=str),
    )  # fmt: skip


def load(path: Path) -> Statistics:
    """Read what `save` wrote. Raises ValueError, naming the file, when it is something else."""
    try:
        with np.load(path, allow_pickle=False) as f:
            version = int(f["version"])
            stored = {name: f[name] for name in f.files}
    except (OSError, ValueError, KeyError) as error:
        raise AstrogfError(f"{path} holds no sufficient statistics ({error}); expected an npz file of a fit") from error
    if version != VERSION:
        raise AstrogfError(f"{path} is of version {version}, this program reads {VERSION}; save the statistics again")
    lines = LineNames(stored["wavelength"], stored["species"], stored["elow"], stored["loggf"])
    others = tuple(str(name) for name in stored["others"])
    n = len(lines.wavelength) + len(others)
    if stored["precision"].shape != (n, n) or stored["gradient"].shape != (n,) or stored["point"].shape != (n,):
        raise AstrogfError(f"{path} is damaged: {n} shared parameters, but A is {stored['precision'].shape}")
    return Statistics(stored["precision"], stored["gradient"], stored["point"], lines, others, int(stored["n_star"]))


def combine(one: Statistics, two: Statistics) -> Statistics:
    """Both sets of stars together, about the first one's point.

    Lines must be the same, in any order; a parameter of `others` that only one has (another survey's resolution) is
    appended. Exact where the stars were linearised at one point; else as good as the linear model is between
    the two. Raises ValueError when the corrections are not of the same lines.
    """
    order = _alignment(one.lines, two.lines)
    n = len(order)
    others = one.others + tuple(name for name in two.others if name not in one.others)
    mine = np.arange(len(one.point))
    theirs = np.append(np.argsort(order), [n + others.index(name) for name in two.others]).astype(int)
    size = n + len(others)
    point = np.zeros(size)
    point[theirs] = two.point
    point[mine] = one.point
    moved = two.at(point[theirs])
    precision, gradient = np.zeros((size, size)), np.zeros(size)
    for s, index in ((one, mine), (moved, theirs)):
        precision[np.ix_(index, index)] += s.precision
        gradient[index] += s.gradient
    return Statistics(precision, gradient, point, one.lines, others, one.n_star + two.n_star)


def _alignment(one: LineNames, two: LineNames) -> Int[np.ndarray, " line"]:
    """Row of `two` that is each row of `one`."""

    def keys(lines):
        return [written(s, w, e, g, digits=4) for w, s, e, g in zip(*lines, strict=True)]

    first, second = keys(one), keys(two)
    where = {key: i for i, key in enumerate(second)}
    missing = [key for key in first if key not in where]
    if missing or len(first) != len(second):
        example = f", for example {missing[0]}" if missing else ""
        raise AstrogfError(
            f"the two sets do not correct the same lines ({len(first)} and {len(second)}, {len(missing)} of the first "
            f"not in the second{example}): fit both with the selection of one of them"
        )
    return np.array([where[key] for key in first], int)


class HyperPosterior(NamedTuple):
    """Draws of the groups' means and scatters, and the corrections with those integrated over."""

    mu: Float[np.ndarray, "draw group"]
    tau: Float[np.ndarray, "draw group"]
    mean: Float[np.ndarray, " shared"]
    sd: Float[np.ndarray, " shared"]
    diagnostics: dict[str, Any]


def marginal(
    statistics: Statistics,
    member: Int[np.ndarray, " line"],
    mu: Float[Array, " group"],
    tau: Float[Array, " group"],
    other_mean: Float[Array, " other"],
    other_sd: Float[Array, " other"],
) -> tuple[Float[Array, ""], Float[Array, " shared"], Float[Array, "shared shared"]]:
    """log of the data's probability with the shared parameters integrated out (up to a constant), their mean given
    the hyperparameters, and the Cholesky factor of their precision.

    Prior: corrections Normal(mu_g, tau_g), the others Normal(other_mean, other_sd).
    """
    point = jnp.asarray(statistics.point)
    weight = jnp.concatenate([tau[member], other_sd]) ** -2.0
    off = point - jnp.concatenate([mu[member], other_mean])
    data = Reduced(jnp.asarray(statistics.precision), jnp.asarray(statistics.gradient))
    value, step, factor = hyper.log_evidence(data, off, jnp.diag(weight), 0.5 * jnp.sum(jnp.log(weight)))
    return value, point + step, factor


def sample_hyper(
    statistics: Statistics,
    member: Int[np.ndarray, " line"],
    n_group: int,
    key: Array,
    *,
    other_mean: Float[np.ndarray, " other"],
    other_sd: Float[np.ndarray, " other"],
    warmup: int = 300,
    draws: int = 500,
    chains: int = 2,
) -> HyperPosterior:
    """NUTS over (mu_g, tau_g) from the statistics alone, the priors those of `inference.newton.groups`.

    `member`: group of every line. The corrections' mean and sd include the uncertainty of the hyperparameters.
    """
    other = jnp.asarray(other_mean), jnp.asarray(other_sd)

    def model():
        with numpyro.plate("groups", n_group):
            mu = numpyro.sample("mu", dist.Normal(0.0, hyper.MEAN_SD))
            tau = numpyro.sample("tau", dist.Weibull(np.sqrt(2.0) * hyper.SCATTER_SD, 2.0))
        numpyro.factor("spectra", marginal(statistics, member, mu, tau, *other)[0])

    sampler = MCMC(NUTS(model), num_warmup=warmup, num_samples=draws, num_chains=chains,
                   chain_method="sequential", progress_bar=False)  # fmt: skip
    sampler.run(key)
    samples = sampler.get_samples(group_by_chain=True)
    mu, tau = (np.asarray(samples[name]).reshape(-1, n_group) for name in ("mu", "tau"))

    def conditional(pair):
        _, mean, factor = marginal(statistics, member, pair[0], pair[1], *other)
        half = solve_triangular(factor, jnp.eye(len(mean)), lower=True)
        return mean, jnp.sum(half**2, axis=0)

    means, variances = jax.lax.map(conditional, (jnp.asarray(mu), jnp.asarray(tau)))
    mean = jnp.mean(means, axis=0)
    sd = jnp.sqrt(jnp.mean(variances + (means - mean) ** 2, axis=0))
    chains_of = [np.asarray(samples[name]) for name in ("mu", "tau")]
    diagnostics = {
        "rhat_max": float(max(np.max(split_gelman_rubin(x)) for x in chains_of)),
        "ess_min": float(min(np.min(effective_sample_size(x)) for x in chains_of)),
        "divergences": int(np.sum(sampler.get_extra_fields()["diverging"])),
    }
    return HyperPosterior(mu, tau, np.asarray(mean), np.asarray(sd), diagnostics)
