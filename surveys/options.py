"""What the reading of spectra can be told: which files and cuts, and what a stated spectrum does not say itself."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from astrogf.base.options import Fraction, NotNegative, Positive, Range, Section, Seed

Kind = Literal[
    "lamost_lrs", "lamost_mrs", "lamost_mrs_blue", "lamost_mrs_red", "sdss_optical", "apogee_apstar",
    "apogee_aspcapstar", "apogee_apvisit", "mwmstar_boss", "mwmstar_apogee", "stated",
]  # fmt: skip
"""Those of `formats.readers`, and their arms together; stated: no survey's files at all."""


class SurveyOptions(Section):
    """Which spectra, and which of them are good enough."""

    kind: Kind = Field(
        "lamost_lrs", description="files that are read; files of other kinds are set aside; stated: none of them"
    )
    window: Range = Field((4900.0, 5400.0), description="wavelengths that are fitted, vacuum Angstrom")
    windows: Annotated[tuple[Range, ...], Field(strict=False)] = Field(
        (), description="several windows instead of one, each with its own continuum"
    )
    leave_out: Annotated[tuple[Range, ...], Field(strict=False)] = Field(
        (), description="wavelengths that are not fitted, vacuum Angstrom as the files have them"
    )
    night_sky: bool = Field(
        False, description="fit pixels on lines of the night sky and the atmosphere too, of which LAMOST left much"
    )
    anchors: str | None = Field(
        None, description="table of stars with known labels and their spectra, each a section [spectra.NAME]"
    )
    log_step: Positive = Field(3e-6, description="pixels that stated spectra are rebinned to, dex (3e-6: 2.07 km/s)")
    spectral_types: str = Field("FGK", description="first letters of the subclasses kept; empty keeps all")
    snr_min: NotNegative = Field(20.0, description="least signal-to-noise ratio a pixel, in snr_band")
    snr_band: Literal["u", "g", "r", "i", "z"] = Field("g", description="band of the header's S/N")
    min_good_fraction: Fraction = Field(0.9, description="least fraction of usable pixels in the window")
    labels: Literal["comparison", "prior"] = Field(
        "comparison", description="what the table of --labels is for: compared with only, or priors of the stars"
    )
    held_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of the stars kept out of the fit, for `astrogf check`"
    )
    held_out_seed: Seed = Field(0, description="seed of the choice, star by star")
    max_gap: Positive = Field(30.0, description="widest run of unusable pixels in the window, Angstrom")

    @field_validator("window")
    @classmethod
    def _is_positive(cls, value: Range) -> Range:
        if value[0] <= 0:
            raise ValueError("wavelengths above 0 A")
        return value

    @field_validator("windows")
    @classmethod
    def _are_apart(cls, value: tuple[Range, ...]) -> tuple[Range, ...]:
        for (low, high), (start, stop) in pairwise(sorted(value)):
            if low <= 0:
                raise ValueError("wavelengths above 0 A")
            if start < high:
                raise ValueError(
                    f"windows that do not overlap ({low:g}-{high:g} and {start:g}-{stop:g} A share pixels, which "
                    "would count twice)"
                )
        return value

    @property
    def all_windows(self) -> tuple[Range, ...]:
        """The windows that are fitted, one or several."""
        return self.windows or (self.window,)


class StatedOptions(Section):
    """A spectrum that does not say what it is."""

    file: str = Field(description="text or FITS; beside the configuration, in --spectra, or an absolute path")
    medium: Literal["air", "vacuum"] = Field(description="what the wavelengths are measured in")
    unit: Literal["Angstrom", "nm", "um"] = Field("Angstrom", description="unit of the wavelengths")
    star: str = Field("", description="name of the star; spectra of one name are held out together")
    snr: Positive = Field(100.0, description="signal-to-noise ratio of a sample, where the file has no errors")
    degrade: bool = Field(False, description="broaden to [stars] resolution and rebin to the survey's pixels")
