"""How wrong the log gf of a list are, and how wrong the model is about a line: the widths of every group, their prior.

    u_i = delta_i + eta_i                      what the spectra measure: the list's error and the model's own
    eta_i ~ Normal(0, phi_g)                   1D, LTE, damping, blends: the same in all stars
    delta_i ~ (1 - w_g) Normal(mu_g, tau_g) + w_g Normal(mu_g, sqrt(tau_g^2 + gross_g^2))

Most values of a list are good to tau; a share w of them, the badly wrong ones, is off by `gross` in addition. The
spectra see u alone, whose two classes are narrow, tau^2 + phi^2, and wide, gross^2 more. They tell the two sums, not
tau from phi: that is left to the priors, to phi being nearly the same in all groups (no narrow class can be narrower),
and to groups whose tau is stated because their values are known well.

Where it is known what missing lines make of a line (`blends`), eta has two classes as well, and u has four: narrow and
wide, and the same of a line that is blended (`states`).

Coordinates on the real line, one row each: ln tau, ln gross, logit w, ln phi. Groups scatter about a straight line in
how well the spectra see their lines (`seen`, -1 for the least and 1 for the best), so that small groups borrow from
the rest. Weak lines have worse values, as strong ones were measured long ago; above all the model is more wrong about
them: what is amiss with a neighbour, the continuum or a line that no list has is a larger part of a weak line.

    x_g ~ Normal(top + slope seen_g, GROUP_SD),   top ~ Normal(TOP, TOP_SD),   slope ~ Normal(0, SLOPE_SD).

Sources of the prior: what good laboratory and theoretical values still scatter by, line to line, in the Sun and in
benchmark stars is 0.05-0.1 dex (Ruffoni et al. 2014, MNRAS 441, 3127; Jofre et al. 2014, A&A 564, A133); most
values of compiled lists are good to about 0.1 dex, and semi-empirical ones are off by several tenths (Heiter et al.
2021, A&A 645, A106).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize
from scipy.special import expit, logit

from astrogf.inference.prior.blends import Blends

TAU, GROSS, SHARE, PHI = range(4)
TOP = np.array([np.log(0.1), np.log(0.4), np.log(0.1 / 0.9), np.log(0.08)])
TOP_SD = np.array([0.7, 0.4, 0.7, 0.25])
SLOPE_SD = np.array([0.35, 0.3, 0.6, 0.5])
GROUP_SD = np.array([0.4, 0.3, 0.5, 0.15])
"""Priors of the rows: dex, dex, a share, dex; the sds are of natural logarithms (of the odds, for the share)."""
LEAST, MOST = np.log([1e-3, 1e-2, 1e-4, 1e-3]), np.log([3.0, 5.0, 1e2, 1.0])
"""Where a coordinate ends when it is searched."""


class Widths(NamedTuple):
    """Of every group: tau, gross and phi (dex), and the share of badly wrong values."""

    tau: Float[np.ndarray, " group"]
    gross: Float[np.ndarray, " group"]
    share: Float[np.ndarray, " group"]
    phi: Float[np.ndarray, " group"]

    @classmethod
    def at(cls, place: Float[np.ndarray, "4 group"]) -> "Widths":
        """From coordinates."""
        return cls(np.exp(place[TAU]), np.exp(place[GROSS]), expit(place[SHARE]), np.exp(place[PHI]))

    @classmethod
    def single(cls, sd: float, n_group: int) -> "Widths":
        """One Normal of this width in every group, and a model without error of its own."""
        none = np.zeros(n_group)
        return cls(np.full(n_group, sd), none, none, none)

    @property
    def listed(self) -> Float[np.ndarray, "2 group"]:
        """Variance of delta about its group's mean, in the narrow and in the wide class."""
        return np.stack([self.tau**2, self.tau**2 + self.gross**2])

    @property
    def variance(self) -> Float[np.ndarray, "2 group"]:
        """The same of u."""
        return self.listed + self.phi**2

    @property
    def sd(self) -> Float[np.ndarray, " group"]:
        """Standard deviation of delta about its group's mean, both classes together."""
        return np.sqrt(self.tau**2 + self.share * self.gross**2)

    def states(self, member: Int[np.ndarray, " line"], blends: Blends | None = None) -> "States":
        """Of lines of these groups, and with these blends."""
        listed, own = self.listed[:, member], self.phi[member] ** 2
        with np.errstate(divide="ignore"):
            log_share = np.log(np.stack([1.0 - self.share, self.share]))[:, member]
        if blends is None:
            return States(log_share, np.zeros(listed.shape), listed, np.stack([own, own]))
        n = len(member)
        return States(
            (blends.log_share[:, None] + log_share).reshape(-1, n),
            np.repeat(blends.centre, 2, axis=0),
            np.tile(listed, (2, 1)),
            np.repeat(own + blends.own, 2, axis=0),
        )


class States(NamedTuple):
    """What may be the case with every line, rows of all arrays: narrow and wide, and where lines may be blended the
    same two once more. log of its probability beforehand, mean of eta, and the variances of delta and eta."""

    log_share: Float[np.ndarray, "state line"]
    centre: Float[np.ndarray, "state line"]
    listed: Float[np.ndarray, "state line"]
    own: Float[np.ndarray, "state line"]

    @property
    def variance(self) -> Float[np.ndarray, "state line"]:
        """Of u about its mean."""
        return self.listed + self.own

    def log_density(
        self, off: Float[np.ndarray, " line"], more: Float[np.ndarray, " line"] | float = 0.0
    ) -> Float[np.ndarray, "state line"]:
        """log of share times density of u - m = `off` in every state, whose variances are wider by `more`."""
        variance = self.variance + more
        return self.log_share - 0.5 * (np.log(2.0 * np.pi * variance) + (off - self.centre) ** 2 / variance)

    def of(self, state: Int[np.ndarray, " line"]) -> "States":
        """The one state that every line is in, without its share."""
        lines = np.arange(len(state))
        return States(*(x[state, lines] for x in self))

    def shrunk(self) -> tuple[Float[np.ndarray, "state line"], Float[np.ndarray, "state line"]]:
        """Given u and the state, delta ~ Normal(mu + k (u - m - centre), sqrt(k own)): k and k times own."""
        k = self.listed / self.variance
        return k, k * self.own


def total(log_density: Float[np.ndarray, "state line"]) -> Float[np.ndarray, " line"]:
    """log of the sum over states."""
    return np.logaddexp.reduce(log_density, axis=0)


def probabilities(log_density: Float[np.ndarray, "state line"]) -> Float[np.ndarray, "state line"]:
    """Of every state."""
    return np.exp(log_density - total(log_density))


def wide_probability(probability: Float[np.ndarray, "state line"]) -> Float[np.ndarray, " line"]:
    """Probability of the wide class from those of the states."""
    return probability[1::2].sum(axis=0)


class Belief(NamedTuple):
    """The prior of the widths: where each coordinate lies beforehand if it is not tied to the other groups, which are
    tied, and which are learned at all."""

    centre: Float[np.ndarray, "4 group"]
    tied: Bool[np.ndarray, "4 group"]
    learned: Bool[np.ndarray, "4 group"]
    top: Float[np.ndarray, "2 4"]
    seen: Float[np.ndarray, " group"]

    @classmethod
    def of(
        cls,
        held: Float[np.ndarray, " group"],
        stated: Float[np.ndarray, " group"] | None = None,
        model_error: float = float(np.exp(TOP[PHI])),
        seen: Float[np.ndarray, " group"] | None = None,
        told: Float[np.ndarray, "3 group"] | None = None,
    ) -> "Belief":
        """`held`: groups of one Normal of this width, which the model makes no error in (nan: learned). `stated`: tau
        of groups whose values are known well (nan: as all others). `model_error`: prior median of phi, 0 for none.
        `seen`: how well the spectra see a group's lines, -1 to 1 (0 where not given). `told`: coordinates of tau, gross
        and the share that are known from elsewhere (nan: not), and held."""
        held = np.asarray(held, float)
        stated = np.full(len(held), np.nan) if stated is None else np.asarray(stated, float)
        top = TOP.copy()
        with np.errstate(divide="ignore"):
            top[PHI] = np.log(model_error)
            centre = np.tile(top[:, None], (1, len(held)))
            fixed = ~np.isnan(held)
            centre[TAU] = np.where(fixed, np.log(np.where(fixed, held, 1.0)), centre[TAU])
            centre[1:, fixed] = -np.inf
            known = ~np.isnan(stated)
            centre[TAU, known] = np.log(stated[known])
        learned = np.tile(~fixed, (4, 1)) & np.isfinite(top)[:, None]
        tied = learned.copy()
        tied[TAU] &= ~known
        if told is not None:
            certain = ~np.isnan(told)
            centre[:PHI] = np.where(certain, told, centre[:PHI])
            tied[:PHI] &= ~certain
            learned[:PHI] &= ~certain
        seen = np.zeros(len(held)) if seen is None else np.asarray(seen, float)
        return cls(centre, tied, learned, np.stack([top, np.zeros(4)]), seen)

    @classmethod
    def known(cls, widths: Widths) -> "Belief":
        """All widths held where they are."""
        with np.errstate(divide="ignore"):
            place = np.stack([np.log(widths.tau), np.log(widths.gross), logit(widths.share), np.log(widths.phi)])
        none = np.zeros(place.shape, bool)
        return cls(place, none, none, np.stack([TOP, np.zeros(4)]), np.zeros(len(widths.tau)))

    @property
    def certain(self) -> bool:
        """Whether the prior is one Normal for every line: no width to learn, and no class."""
        return not self.learned.any() and not np.any((self.centre[GROSS] > -np.inf) & (self.centre[SHARE] > -np.inf))

    def start(self) -> tuple[Float[np.ndarray, "4 group"], Float[np.ndarray, "2 4"]]:
        """Coordinates, and top values with their slopes, at their prior medians."""
        return self.centre.copy(), self.top.copy()

    def middle(self, top: Float[np.ndarray, "2 4"]) -> Float[np.ndarray, "4 group"]:
        """Prior median of every coordinate given top values and slopes."""
        return np.where(self.tied, top[0][:, None] + top[1][:, None] * self.seen, self.centre)

    def by_group(
        self, place: Float[np.ndarray, "4 group"], top: Float[np.ndarray, "2 4"]
    ) -> Float[np.ndarray, "4 group"]:
        """log prior density of the coordinates given the top values; 0 where nothing is learned."""
        with np.errstate(invalid="ignore"):
            z = np.where(self.learned, (place - self.middle(top)) / GROUP_SD[:, None], 0.0)
        return -0.5 * z**2

    def by_row(self, place: Float[np.ndarray, "4 group"]) -> Float[np.ndarray, "4"]:
        """log prior density of the coordinates of every row, its top value and slope summed over; up to a constant."""
        out = np.zeros(4)
        for row in np.flatnonzero(self.learned.any(axis=1)):
            mine = self.learned[row]
            off = (place[row, mine] - self.centre[row, mine]) / GROUP_SD[row]
            line = self.tied[row, mine] * np.stack([np.full(mine.sum(), TOP_SD[row]), SLOPE_SD[row] * self.seen[mine]])
            line /= GROUP_SD[row]
            along = line @ off
            out[row] = -0.5 * (off @ off - along @ np.linalg.solve(line @ line.T + np.eye(2), along))
        return out

    def of_top(self, top: Float[np.ndarray, "2 4"]) -> float:
        """log prior density of top values and slopes; 0 of rows that have none."""
        with np.errstate(invalid="ignore"):
            z = np.where(np.isfinite(self.top), (top - self.top) / np.stack([TOP_SD, SLOPE_SD]), 0.0)
        return float(-0.5 * np.sum(z**2))

    def log_density(
        self, place: Float[np.ndarray, "4 group"], top: Float[np.ndarray, "2 4"]
    ) -> tuple[float, Float[np.ndarray, "4 group"], Float[np.ndarray, "2 4"]]:
        """log prior density of all of them, up to a constant, and its derivatives."""
        use, sds = np.isfinite(self.top), np.stack([TOP_SD, SLOPE_SD])
        with np.errstate(invalid="ignore"):
            pulled = np.where(self.learned, (place - self.middle(top)) / GROUP_SD[:, None] ** 2, 0.0)
            above = np.where(use, (top - self.top) / sds**2, 0.0)
        tied = np.where(self.tied, pulled, 0.0)
        value = self.by_group(place, top).sum() + self.of_top(top)
        return value, -pulled, np.stack([tied.sum(axis=1), tied @ self.seen]) - above

    def draw_top(self, rng: np.random.Generator, place: Float[np.ndarray, "4 group"]) -> Float[np.ndarray, "2 4"]:
        """Top values and slopes given the groups': a straight line through them, row by row."""
        out = self.top.copy()
        for row in np.flatnonzero(self.tied.any(axis=1)):
            mine = self.tied[row]
            design = np.stack([np.ones(mine.sum()), self.seen[mine]])
            factor = np.linalg.cholesky(
                design @ design.T / GROUP_SD[row] ** 2 + np.diag([TOP_SD[row] ** -2.0, SLOPE_SD[row] ** -2.0])
            )
            pull = design @ (place[row, mine] - self.top[0, row]) / GROUP_SD[row] ** 2
            half = np.linalg.solve(factor, pull) + rng.normal(size=2)
            out[:, row] = self.top[:, row] + np.linalg.solve(factor.T, half)
        return out


def most_probable(
    belief: Belief,
    place: Float[np.ndarray, "4 group"],
    top: Float[np.ndarray, "2 4"],
    off: Float[np.ndarray, " line"],
    more: Float[np.ndarray, " line"],
    member: Int[np.ndarray, " line"],
    blends: Blends | None = None,
) -> tuple[Float[np.ndarray, "4 group"], Float[np.ndarray, "2 4"]]:
    """Coordinates and top values at the maximum of their density, from `place`, where u - mu of every line has been
    measured as `off` with variance `more`. Quasi-Newton (L-BFGS)."""
    learned, shape = belief.learned, place.shape
    if not learned.any():
        return place, top
    low, high = np.broadcast_to(LEAST[:, None], shape)[learned], np.broadcast_to(MOST[:, None], shape)[learned]
    use = np.isfinite(belief.top)

    def unpacked(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at, upper = place.copy(), top.copy()
        at[learned], upper[use] = x[: learned.sum()], x[learned.sum() :]
        return at, upper

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        at, upper = unpacked(x)
        value, slope = likelihood(Widths.at(at), off, more, member, blends)
        said, of_place, of_top = belief.log_density(at, upper)
        return -value - said, -np.concatenate([(slope + of_place)[learned], of_top[use]])

    begin = np.concatenate([np.clip(place[learned], low, high), top[use]])
    bounds = [*zip(low, high, strict=True), *[(None, None)] * int(use.sum())]
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200})
    return unpacked(found.x)


def likelihood(
    widths: Widths,
    off: Float[np.ndarray, " line"],
    more: Float[np.ndarray, " line"] | float,
    member: Int[np.ndarray, " line"],
    blends: Blends | None = None,
) -> tuple[float, Float[np.ndarray, "4 group"]]:
    """log density of all lines, and its derivatives by the coordinates."""
    density, each = scores(widths, off, more, member, blends)
    n = len(widths.tau)
    return float(np.sum(density)), np.stack([np.bincount(member, x, minlength=n) for x in each])


def scores(
    widths: Widths,
    off: Float[np.ndarray, " line"],
    more: Float[np.ndarray, " line"] | float,
    member: Int[np.ndarray, " line"],
    blends: Blends | None = None,
) -> tuple[Float[np.ndarray, " line"], Float[np.ndarray, "4 line"]]:
    """log density of every line, and its derivatives by the coordinates of the line's group."""
    states = widths.states(member, blends)
    logs = states.log_density(off, more)
    density = total(logs)
    probability, variance = np.exp(logs - density), states.variance + more
    by_variance = 0.5 * probability * ((off - states.centre) ** 2 / variance - 1.0) / variance
    either, gross = by_variance.sum(axis=0), by_variance[1::2].sum(axis=0)
    of_tau, of_gross, of_phi = (2.0 * x[member] ** 2 for x in (widths.tau, widths.gross, widths.phi))
    by_share = wide_probability(probability) - widths.share[member]
    return density, np.stack([of_tau * either, of_gross * gross, by_share, of_phi * either])
