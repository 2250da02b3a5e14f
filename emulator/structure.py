"""The atmosphere as arrays: the small type that every room above speaks."""

from collections.abc import Mapping

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.errors import AstrogfError

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


POSITIVE = ("tau", "rhox", "t", "p", "xne", "abross")
RISING = ("tau", "rhox")
"""What cannot fall inwards; gas pressure can, a little, where radiation carries the layers (cool giants' decks)."""


def check_structure(structure: Structure, name: str = "structure", layer: int = 1) -> None:
    """Raises AstrogfError, with quantity and layer, for an atmosphere that cannot be: see `check_columns`."""
    columns = {field: np.asarray(getattr(structure, field), float) for field in Structure.__annotations__}
    check_columns(columns, name, first=layer)


def check_columns(
    columns: Mapping[str, Float[np.ndarray, " depth"]],
    name: str,
    *,
    error: type[AstrogfError] = AstrogfError,
    first: int = 1,
) -> None:
    """Raises `error`, with the column and the layer, unless these are the layers of an atmosphere.

    Of equal length, 3 layers at least, finite; `POSITIVE` columns above zero, `RISING` ones strictly increasing
    inwards. Column names count in lower case; `first` is the number of the outermost layer in the file.
    """
    shapes = {column: np.shape(values) for column, values in columns.items()}
    if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) != 1:
        each = ", ".join(f"{column} {'x'.join(map(str, shape)) or 'a number'}" for column, shape in shapes.items())
        raise error(f"{name}: {each}; give one value a layer in every column")
    if len(next(iter(columns.values()))) < 3:
        raise error(f"{name}: {len(next(iter(columns.values())))} layers; an atmosphere has dozens")
    for column, values in columns.items():
        wrong = [("finite", ~np.isfinite(values))]
        if column.lower() in POSITIVE:
            wrong.append(("above zero", ~(values > 0)))
        for expected, bad in wrong:
            if bad.any():
                i = int(np.argmax(bad))
                raise error(
                    f"{name}: {column} of layer {i + first} is {values[i]:g}, expected {expected}; mend or drop it"
                )
    for column in (c for c in columns if c.lower() in RISING):
        values = columns[column]
        bad = np.diff(values) <= 0
        if bad.any():
            i = int(np.argmax(bad)) + 1
            raise error(
                f"{name}: {column} of layer {i + first} is {values[i]:g} after {values[i - 1]:g}, expected a strict "
                "increase from the outermost layer inwards; mend or drop it"
            )
