"""What a run can be exported as."""

from enum import StrEnum


class Format(StrEnum):
    """Formats of other codes, our own (ecsv), and the corrections alone (overlay)."""

    vald = "vald"
    turbospectrum = "turbospectrum"
    moog = "moog"
    kurucz = "kurucz"
    korg = "korg"
    ecsv = "ecsv"
    overlay = "overlay"
