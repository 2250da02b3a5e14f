"""Kurucz-a1: labels to atmosphere structure.

Order of reading: structure (what an atmosphere is), network, hydrostatic, domain (the hull), model (labels to
structure), layers (on a run's depths); decks, grids and atmosnet (what it is held against); options, training, polish,
cards, validation.
"""

from astrogf.emulator.model import Emulator, load
from astrogf.emulator.structure import LABELS, Structure

__all__ = ["LABELS", "Emulator", "Structure", "load"]
