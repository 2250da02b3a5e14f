"""What a run can be exported as."""

from enum import StrEnum


class Format(StrEnum):
    """Line lists in the formats of other codes and our own (ecsv), the corrections alone (overlay), and results: tables
    (fits) and the posterior for ArviZ (netcdf)."""

    vald = "vald"
    turbospectrum = "turbospectrum"
    moog = "moog"
    kurucz = "kurucz"
    korg = "korg"
    ecsv = "ecsv"
    overlay = "overlay"
    fits = "fits"
    netcdf = "netcdf"
