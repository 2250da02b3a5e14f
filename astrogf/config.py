"""The whole configuration of a run: every key, its unit, its default and what is allowed.

A TOML file needs only the keys that differ from the defaults here. Unknown keys are refused, because a misspelt
key that is silently ignored changes a result without a word.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from astrogf.errors import UserError

Range = Annotated[tuple[float, float], Field(strict=False)]
"""Two numbers, the smaller first."""
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A TOML table: types as written (no text for a number), no unknown keys, ranges in rising order."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name, value in self:
            if isinstance(value, tuple) and not value[0] < value[1]:
                raise ValueError(f"{name}|the smaller number first, such as [{value[1]:g}, {value[0]:g}]")
        return self


class Survey(Section):
    """Which spectra, and which of them are good enough."""

    kind: Literal["lamost_lrs"] = Field("lamost_lrs", description="survey whose files are read")
    window: Range = Field((4900.0, 5400.0), description="wavelengths that are fitted, vacuum Angstrom")
    snr_min: NotNegative = Field(20.0, description="least signal-to-noise ratio a pixel, in snr_band")
    snr_band: Literal["u", "g", "r", "i", "z"] = Field("g", description="band of the header's S/N")
    min_good_fraction: Fraction = Field(0.8, description="least fraction of usable pixels in the window")


class Model(Section):
    """The synthetic spectrum."""

    emulator: str = Field("shipped", description="'shipped', or the path of weights written by `astrogf train`")
    depths: Annotated[int, Field(ge=16, le=256)] = Field(48, description="layers of an atmosphere")
    oversampling: Annotated[int, Field(ge=2, le=128)] = Field(
        16, description="synthesis steps in one pixel of the survey"
    )
    line_cut: Positive = Field(
        1e-4, description="lines whose line-to-continuum opacity stays below this in every star are left out"
    )


class Lines(Section):
    """Which lines get a free log gf, and what is believed of them beforehand."""

    max_free: Count = Field(1000, description="most lines with a free log gf (the most informative ones)")
    min_information: NotNegative = Field(
        0.01, description="least expected information on a free line, in units of that of its prior"
    )
    prior_sd: Positive = Field(0.2, description="prior sd of a correction where its group says nothing, dex")
    hierarchical: bool = Field(True, description="learn mean and sd of the corrections of each group")


class Stars(Section):
    """Which stars the physics is good for, and what is believed of their labels beforehand."""

    teff: Range = Field((4200.0, 7000.0), description="effective temperatures accepted, K")
    logg: Range = Field((1.0, 5.0), description="surface gravities accepted, dex (cgs)")
    feh: Range = Field((-2.5, 0.5), description="metallicities accepted, dex")
    alpha: Range = Field((-0.2, 0.6), description="alpha enhancements accepted, dex")
    vmic: Positive = Field(1.3, description="prior mean of microturbulence, km/s")
    vmic_sd: Positive = Field(0.4, description="prior sd of microturbulence, km/s")
    rv_max: Positive = Field(600.0, description="largest radial velocity searched, km/s")
    resolution: Positive = Field(1800.0, description="prior mean of the resolving power (shared by all stars)")
    resolution_sd: Positive = Field(150.0, description="prior sd of the resolving power")


class Continuum(Section):
    """The smooth factor between model and observation, marginalised analytically."""

    degree: Annotated[int, Field(ge=0, le=20)] = Field(5, description="degree of the polynomial in the window")
    prior_sd: Positive = Field(1.0, description="prior sd of its coefficients, relative to the mean flux")


class Noise(Section):
    """What the differences between model and observation are drawn from."""

    kind: Literal["student", "gaussian"] = Field("student", description="shape of the noise")
    dof: Positive = Field(6.0, description="degrees of freedom of Student's t")
    inflation: NotNegative = Field(0.005, description="first value of the added model error, relative to the flux")


class Solver(Section):
    """How the fit is computed."""

    max_iterations: Count = Field(30, description="most Gauss-Newton iterations")
    tolerance: Positive = Field(1e-3, description="stop when a step would gain less than this in the objective")
    star_chunk: Count = Field(8, description="stars computed at once")
    memory_gb: Positive = Field(4.0, description="memory the computation may plan for, GB")
    seed: Annotated[int, Field(ge=0)] = Field(1, description="seed of everything random")


class Demo(Section):
    """The simulated survey of `astrogf demo`; `astrogf fit` does not look at it."""

    stars: Count = Field(64, description="simulated stars")
    snr: Range = Field((30.0, 150.0), description="signal-to-noise ratios they are drawn from")
    lines: Count = Field(200, description="lines whose log gf is made wrong")
    injected_sd: Positive = Field(0.2, description="sd of the injected errors, dex")
    seed: Annotated[int, Field(ge=0)] = Field(2, description="seed of the simulation")


class Config(Section):
    """Everything a run was told. `Config()` is a complete run on LAMOST low-resolution spectra."""

    survey: Survey = Survey()
    model: Model = Model()
    lines: Lines = Lines()
    stars: Stars = Stars()
    continuum: Continuum = Continuum()
    noise: Noise = Noise()
    solver: Solver = Solver()
    demo: Demo = Demo()


DEMO: dict[str, dict[str, Any]] = {}
"""How the demonstration differs from the defaults; configs/demo.toml says the same to a reader."""


def demo_config() -> Config:
    """The configuration of `astrogf demo` when no file is named."""
    return Config.model_validate(DEMO)


def load(path: Path) -> Config:
    """Read a TOML file. Raises UserError that names file, section and key, and says what was expected."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no configuration file {path}; copy configs/lamost_lrs.toml and edit it.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The configuration file {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from error
    return parse(raw, str(path))


def parse(raw: dict[str, Any], source: str) -> Config:
    """Check a nested dictionary. Raises UserError as `load` does; `source` is what messages call it."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = [_sentence(dict(e)) for e in error.errors()]
        text = problems[0] if len(problems) == 1 else "\n" + "\n".join(f"- {p}" for p in problems)
        raise UserError(f"{source}: {text}") from error


def _sections() -> dict[str, type[Section]]:
    return {name: type(field.default) for name, field in Config.model_fields.items()}


def _sentence(error: dict[str, Any]) -> str:
    """One of pydantic's errors as '[section] key: expected ..., got ...'."""
    section, *rest = (str(part) for part in error["loc"])
    key = rest[0] if rest else None
    if error["type"] == "extra_forbidden":
        return _unknown_key(section, key) if key else _unknown_section(section, error["input"])
    if key is None and error["type"] == "value_error":
        key, _, expected = str(error["ctx"]["error"]).partition("|")
        return f"[{section}] {key}: expected {expected}, got {list(error['input'][key])}."
    if key is None:
        return f"[{section}]: expected a section with keys below it, got {error['input']!r}."
    return f"[{section}] {key}: expected {_expected(section, key, error)}, got {error['input']!r}."


def _expected(section: str, key: str, error: dict[str, Any]) -> str:
    """What pydantic wanted, in the words of somebody who writes TOML."""
    default = _sections()[section].model_fields[key].default
    if isinstance(default, tuple):
        return f"two numbers such as {list(default)}"
    if error["type"] == "bool_type":
        return "true or false"
    if error["type"] == "string_type":
        return "text in quotes"
    if error["type"].startswith("int"):
        return "a whole number"
    message = error["msg"].removeprefix("Input should be ").replace("a valid number", "a number")
    return f"a number {message}" if message.startswith(("greater", "less")) else message


def _unknown_key(section: str, key: str) -> str:
    sections = _sections()
    names = list(sections[section].model_fields)
    elsewhere = [name for name, model in sections.items() if key in model.model_fields]
    near = difflib.get_close_matches(key, names, n=1)
    if near:
        advice = f"did you mean '{near[0]}'?"
    elif elsewhere:
        advice = f"it belongs in [{elsewhere[0]}]."
    else:
        advice = f"this section has {', '.join(names)}."
    return f"[{section}] {key}: unknown key; {advice}"


def _unknown_section(name: str, value: Any) -> str:
    sections = _sections()
    if not isinstance(value, dict):
        homes = [s for s, model in sections.items() if name in model.model_fields]
        place = f"put it below [{homes[0]}]." if homes else "every key belongs below a [section]."
        return f"{name}: a key outside any section; {place}"
    near = difflib.get_close_matches(name, sections, n=1)
    advice = f"did you mean [{near[0]}]?" if near else f"there are {', '.join(f'[{s}]' for s in sections)}."
    return f"[{name}]: unknown section; {advice}"


def reference() -> str:
    """The configuration page's tables (Markdown), written from the schema so that they cannot fall behind."""
    out = []
    for name, model in _sections().items():
        out += [f"## [{name}]", "", (model.__doc__ or "").strip(), "", "| key | default | meaning |", "|---|---|---|"]
        for key, field in model.model_fields.items():
            value = field.default
            shown = str(list(value)) if isinstance(value, tuple) else repr(value).replace("'", '"')
            if isinstance(value, bool):
                shown = str(value).lower()
            out.append(f"| `{key}` | `{shown}` | {field.description} |")
        out.append("")
    return "\n".join(out)


if __name__ == "__main__":
    print(reference(), end="")
