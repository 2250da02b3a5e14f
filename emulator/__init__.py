"""Kurucz-a1: labels to atmosphere structure.

Every room that computes stands on this one, so double precision is switched on here, once.
"""

import jax

jax.config.update("jax_enable_x64", True)

from astrogf.emulator.model import Emulator, load  # noqa: E402
from astrogf.emulator.structure import LABELS, Structure  # noqa: E402

__all__ = ["LABELS", "Emulator", "Structure", "load"]
