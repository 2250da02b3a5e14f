"""Kurucz-a1: labels to atmosphere structure."""

from astrogf.emulator.model import Emulator, load
from astrogf.emulator.structure import LABELS, Structure

__all__ = ["LABELS", "Emulator", "Structure", "load"]
