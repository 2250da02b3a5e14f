"""Kurucz-a1: labels to atmosphere structure.

Order of reading: structure (what an atmosphere is), network, hydrostatic, domain (the hull), model (labels to
structure), layers (on a run's depths); decks, grids and atmosnet (what it is held against); options, training, polish,
cards, validation.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astrogf.emulator.model import Emulator, load
    from astrogf.emulator.structure import LABELS, Structure

__all__ = ["LABELS", "Emulator", "Structure", "load"]

_HOMES = {"LABELS": "structure", "Structure": "structure", "Emulator": "model", "load": "model"}


def __getattr__(name: str):
    # late, so that the options of a training can be read without JAX
    if name not in _HOMES:
        raise AttributeError(f"module 'astrogf.emulator' has no attribute {name!r}")
    return getattr(import_module(f"astrogf.emulator.{_HOMES[name]}"), name)
