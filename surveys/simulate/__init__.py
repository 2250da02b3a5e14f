"""Simulated survey files: noise, and a writer for each layout that is read."""

from astrogf.surveys.simulate.apogee import (
    visit_wavelengths,
    write_apogee_aspcapstar,
    write_apogee_star,
    write_apogee_visit,
)
from astrogf.surveys.simulate.base import Observation, observe
from astrogf.surveys.simulate.lamost import LRS_FIRST, LRS_PIXELS, write_lamost_lrs, write_lamost_mrs
from astrogf.surveys.simulate.sdss import write_mwmstar, write_sdss

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
