"""What a simulated survey can be told."""

from typing import Annotated

from pydantic import Field

from astrogf.base.options import Count, NotNegative, Positive, Range, Section, Seed


class DemoOptions(Section):
    """The simulated survey of `astrogf demo`: of LAMOST LRS, MRS or stated spectra, as [survey] kind says."""

    stars: Count = Field(64, description="simulated stars")
    snr: Range = Field((30.0, 150.0), description="signal-to-noise ratios they are drawn from")
    scatter: Positive = Field(0.1, description="sd of the error that every line's log gf is given, dex")
    wrong_share: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="lines whose log gf is badly wrong")
    wrong: NotNegative = Field(0.4, description="sd of the error that these are given in addition, dex")
    model_error: NotNegative = Field(0.08, description="sd of the error of the model in a line, for all stars, dex")
    species_error: NotNegative = Field(0.05, description="sd of the error that all log gf of a species share, dex")
    species_model_error: NotNegative = Field(0.07, description="sd of the error of the model that they share, dex")
    missing: Annotated[int, Field(ge=0, le=100)] = Field(0, description="strong lines that the list does not have")
    outlier_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(0.002, description="pixels struck by an outlier")
    oversampling: Annotated[int, Field(ge=2, le=128)] = Field(64, description="[model] oversampling of the truth")
    depths: Annotated[int, Field(ge=16, le=256)] = Field(48, description="[model] depths of the truth")
    seed: Seed = Field(20261122, description="seed of everything random")
