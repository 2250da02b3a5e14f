"""What a joint fit returns: arrays and a status, ready to be written and drawn."""

from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table
from jaxtyping import Float, Int


@dataclass(frozen=True)
class FitResult:
    """Stars and log gf fitted jointly, with Laplace errors.

    Units: labels as `label_names` says (K, dex, km/s), corrections in dex, wavelength in vacuum Angstrom.

    - `labels`, `labels_sd`: marginal over everything else; `flags` says what a star leans on ('' if nothing).
    - `lines`: one row a free line, columns wavelength (vacuum A), species ('Fe I'), elow (eV), loggf (of the
      list), correction, posterior_sd, prior_sd, ratio (posterior_sd / prior_sd), group, depth (strongest line depth
      seen in a star, for a reader who wants to know what matters).
    - `model_original`: labels refitted with the list as it came; `model_corrected`: the joint fit. Both on the
      scale of `flux`, continuum included. `sigma`: noise sd per pixel, inflation included (inf = not used).
    - `trace`: one dict an iteration (objective, step, seconds ...). `status`: 'converged' or 'max_iterations' ...
    - `jacobian_cost_ratio`: seconds of a pass of the joint fit (synthesis, its derivatives by all labels and all lines,
      instrument, normal equations) over seconds of one synthesis, both per star in the same run. The
      synthesis is timed in the coarse search, which also shifts it to some 50 velocities;
      benchmarks/derivative_cost.py times it bare.
    """

    table: Table
    label_names: tuple[str, ...]
    labels: Float[np.ndarray, "star label"]
    labels_sd: Float[np.ndarray, "star label"]
    flags: tuple[str, ...]
    wavelength: Float[np.ndarray, " pixel"]
    flux: Float[np.ndarray, "star pixel"]
    ivar: Float[np.ndarray, "star pixel"]
    sigma: Float[np.ndarray, "star pixel"]
    model_original: Float[np.ndarray, "star pixel"]
    model_corrected: Float[np.ndarray, "star pixel"]
    chi2_original: Float[np.ndarray, " star"]
    chi2_corrected: Float[np.ndarray, " star"]
    n_pixel: Int[np.ndarray, " star"]
    lines: Table
    correction_covariance: Float[np.ndarray, "line line"]
    shared: dict[str, tuple[float, float]]
    hyper: Table
    status: str
    trace: list[dict] = field(default_factory=list)
    jacobian_cost_ratio: float | None = None
