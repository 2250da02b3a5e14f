"""The atmosphere as arrays: the small type that every room above speaks."""

import equinox as eqx
from jaxtyping import Array, Float

LABELS = ("teff", "logg", "feh", "alpha")
"""Order of the label vector: K, dex (cgs), dex, dex."""


class Structure(eqx.Module):
    """A plane-parallel 1D atmosphere, outermost layer first.

    Shapes: `depth` layers (a leading `star` axis under vmap). Units: CGS, T in K.
    `tau` is the Rosseland optical depth, `rhox` the column mass (g cm^-2), `p` the gas pressure
    (dyn cm^-2), `xne` the electron density (cm^-3), `abross` the Rosseland opacity (cm^2 g^-1) and
    `accrad` the radiative acceleration (cm s^-2).
    Source: Kurucz (1970, SAO Special Report 309), READ DECK6 format.
    """

    tau: Float[Array, "*star depth"]
    rhox: Float[Array, "*star depth"]
    t: Float[Array, "*star depth"]
    p: Float[Array, "*star depth"]
    xne: Float[Array, "*star depth"]
    abross: Float[Array, "*star depth"]
    accrad: Float[Array, "*star depth"]
