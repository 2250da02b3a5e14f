"""Stars that Turbospectrum was run for (shared/data/reference/turbospectrum), beside our gas at their T, P and XNE."""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from astrogf.synthesis.gas.abundances import number_fractions
from astrogf.synthesis.gas.eos import equation_of_state, solve_xne
from astrogf.synthesis.gas.gas import Gas

STARS = {
    "sun": (0.0, 0.0),
    "t5750g45m20a04": (-2.0, 0.4),
    "t6500g40p00": (0.0, 0.0),
    "t4500g15m05": (-0.5, 0.0),
    "t4500g45p00": (0.0, 0.0),
    "t4000g15p00": (0.0, 0.0),
}
"""[Fe/H] and [alpha/Fe] of each."""
LAYERS = 72
"""All are padded to as many, so that one compilation serves."""
eos, xne_of = jax.jit(equation_of_state), jax.jit(solve_xne)


@dataclass(frozen=True)
class ReferenceStar:
    """`data` is theirs, `padded` our gas with LAYERS layers and `gas` with theirs; `solved` is our own electron density
    at their T and P. `window`: layers at 1e-4 < tau_5000 < 10; `shallow`: above 0.3."""

    data: dict[str, np.ndarray]
    fractions: np.ndarray
    padded: Gas
    gas: Gas
    solved: np.ndarray
    window: np.ndarray
    shallow: np.ndarray


def reference_star(shared: Path, name: str) -> ReferenceStar:
    """One of STARS."""
    data = np.load(shared / "reference" / "turbospectrum" / "stars" / f"{name}.npz")
    fractions = number_fractions(*STARS[name])
    layers = data["cons_T"].size
    t, p, xne = (np.pad(data[f"cons_{k}"], (0, LAYERS - layers), mode="edge") for k in ("T", "P", "XNE"))
    padded = eos(t, p, xne, fractions)
    tau = data["tsB_tau5000"]
    return ReferenceStar(
        data=data,
        fractions=fractions,
        padded=padded,
        gas=jax.tree.map(lambda a: np.asarray(a)[..., :layers], padded),
        solved=np.asarray(xne_of(t, p, fractions))[:layers],
        window=(tau > 1e-4) & (tau < 10),
        shallow=tau < 0.3,
    )
