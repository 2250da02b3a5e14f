"""Reader of the networks of atmosnet 1.0.1 (Nidever 2021): a teacher and a comparator, not shipped.

They emulate the C3K grid of ATLAS-12 atmospheres (Conroy & Kurucz, unpublished) on its 80 depths.
"""

import pickle
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from astrogf.base.errors import AstrogfError, NoFileError
from astrogf.emulator.decks import LOG_TAU_STEP, LOG_TAU_TOP
from astrogf.emulator.hydrostatic import hermite
from astrogf.emulator.network import QUANTITIES
from astrogf.emulator.structure import Structure

LN10 = float(np.log(10.0))
_COLUMN = {"rhox": 0, "t": 1, "p": 2, "xne": 3, "abross": 4, "accrad": 5}
FILES = {"cool": "atmosnet_c3k_300neurons_cool.pkl", "hot": "atmosnet_c3k_300neurons_hot.pkl"}


class Networks(eqx.Module):
    """Six networks 4-300-300-80 with leaky rectifiers, one a quantity in the order of `QUANTITIES`.

    The outputs are log10 of the quantity in CGS (the package's own code takes their natural exponential).
    `nodes` are the labels of the C3K models that they were trained on; between them they are linear pieces.
    """

    weights: tuple[Float[Array, "quantity out in"], ...]
    biases: tuple[Float[Array, "quantity out"], ...]
    low: Float[Array, "4"]
    high: Float[Array, "4"]
    nodes: Float[np.ndarray, "node 4"] = eqx.field(static=False)

    @classmethod
    def read(cls, path: Path) -> "Networks":
        """From one of the package's two pickles, with an unpickler that can only rebuild NumPy arrays.

        Raises FileNotFoundError, or ValueError when the file holds anything else.
        """
        if not path.exists():
            raise NoFileError(f"no file {path}; tools/sources.py fetches the package atmosnet 1.0.1")
        with path.open("rb") as f:
            try:
                tables = _OnlyArrays(f).load()
                tables = {int(t["column"]): t for t in tables}
                chosen = [tables[_COLUMN[q]] for q in QUANTITIES]
            except (pickle.UnpicklingError, KeyError, TypeError) as error:
                raise AstrogfError(f"{path}: not the networks of atmosnet 1.0.1 ({error})") from error
        layer = range(3)
        return cls(
            tuple(jnp.asarray(np.stack([t[f"w_array_{i}"] for t in chosen]), float) for i in layer),
            tuple(jnp.asarray(np.stack([t[f"b_array_{i}"] for t in chosen]), float) for i in layer),
            jnp.asarray(chosen[0]["x_min"], float),
            jnp.asarray(chosen[0]["x_max"], float),
            np.asarray(chosen[0]["training_labels"], float),
        )

    @property
    def log_tau(self) -> Float[np.ndarray, " depth"]:
        """log10 tau_Ross of the 80 outputs: the grid of every ATLAS deck."""
        return LOG_TAU_TOP + LOG_TAU_STEP * np.arange(self.biases[-1].shape[-1])

    def log10(self, labels: Float[Array, "4"]) -> Float[Array, "quantity depth"]:
        """log10 of the six quantities on the 80 depths."""
        x = (jnp.asarray(labels) - self.low) / (self.high - self.low) - 0.5
        h = jnp.einsum("qoi,i->qo", self.weights[0], x) + self.biases[0]
        for w, b in zip(self.weights[1:], self.biases[1:], strict=True):
            h = jnp.einsum("qoi,qi->qo", w, jnp.where(h > 0, h, 0.01 * h)) + b
        return h

    def __call__(self, labels: Float[Array, "4"], tau: Float[Array, " depth"] | None = None) -> Structure:
        """Structure as `Emulator` gives it; between the 80 depths by cubic Hermite interpolation in log tau."""
        nodes = jnp.asarray(self.log_tau)
        ln = self.log10(labels) * LN10
        if tau is not None:
            x = jnp.log10(jnp.asarray(tau))
            slopes = jnp.gradient(ln, LOG_TAU_STEP, axis=1)
            ln = jnp.stack([hermite(x, nodes, v, s) for v, s in zip(ln, slopes, strict=True)])
            nodes = x
        return Structure(10.0**nodes, *jnp.exp(ln))

    def margin(self, labels: Float[Array, "4"]) -> Float[Array, ""]:
        """Distance to the nearest face of the box of its labels, in shares of the box: positive inside."""
        span = self.high - self.low
        return jnp.min(jnp.concatenate([(labels - self.low) / span, (self.high - labels) / span]))


class _OnlyArrays(pickle.Unpickler):
    """Resolves the four names that a pickled NumPy array needs and refuses every other."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("dill._dill", "_import_module"): _numpy_core,
            ("dill._dill", "_get_attr"): _reconstruct,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"the file asks for {module}.{name}, which is not part of an array")
        return allowed[module, name]


def _numpy_core(name: str) -> str:
    if name != "numpy.core._multiarray_umath":
        raise pickle.UnpicklingError(f"the file asks for the module {name}, which is not part of an array")
    return name


def _reconstruct(module: str, name: str) -> Any:
    if (module, name) != ("numpy.core._multiarray_umath", "_reconstruct"):
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}, which is not part of an array")
    return lambda kind, shape, code: np.ndarray.__new__(np.ndarray, shape, np.dtype(code))
