"""Simulated survey files: noise, and a writer for each layout that is read."""

from surveys.simulate_apogee import (
    visit_wavelengths,
    write_apogee_aspcapstar,
    write_apogee_star,
    write_apogee_visit,
)
from surveys.simulate_base import Observation, observe
from surveys.simulate_lamost import LRS_FIRST, LRS_PIXELS, write_lamost_lrs, write_lamost_mrs
from surveys.simulate_sdss import write_mwmstar, write_sdss

__all__ = [
    "LRS_FIRST",
    "LRS_PIXELS",
    "Observation",
    "observe",
    "visit_wavelengths",
    "write_apogee_aspcapstar",
    "write_apogee_star",
    "write_apogee_visit",
    "write_lamost_lrs",
    "write_lamost_mrs",
    "write_mwmstar",
    "write_sdss",
]
