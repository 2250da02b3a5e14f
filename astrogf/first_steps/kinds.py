"""Kinds of spectra that `astrogf init` writes a configuration for."""

from enum import StrEnum


class Kind(StrEnum):
    """Surveys, and spectra that are named one by one."""

    lamost_lrs = "lamost_lrs"
    lamost_mrs = "lamost_mrs"
    sdss = "sdss"
    apogee = "apogee"
    stated = "stated"
