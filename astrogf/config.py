"""The whole configuration of a run: every key, its unit, its default and what is allowed.

A TOML file needs only the keys that differ from the defaults here. Unknown keys are refused, because a misspelt
key that is silently ignored changes a result without a word.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from astrogf.base.errors import AstrogfError


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] < pair[1]:
        raise ValueError(f"the smaller number first, such as [{pair[1]:g}, {pair[0]:g}]")
    return pair


def _with_spread(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[1] > 0:
        raise ValueError("[mean, sd] with an sd above 0")
    return pair


Range = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_rising)]
"""Two numbers, the smaller first."""
Normal = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_with_spread)]
"""Mean and standard deviation of a Gaussian prior."""
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Levels = Annotated[list[Annotated[float, Field(ge=0, le=15)]], Field(min_length=1)]
"""Excitation energies, eV."""


class Section(BaseModel):
    """A TOML table: types as written (no text for a number), no unknown keys, nothing infinite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Kind = Literal[
    "lamost_lrs", "lamost_mrs", "lamost_mrs_blue", "lamost_mrs_red", "sdss_optical", "apogee_apstar",
    "apogee_aspcapstar", "apogee_apvisit", "mwmstar_boss", "mwmstar_apogee", "stated",
]  # fmt: skip
"""Those of surveys.formats.readers, by the names that `astrogf inspect` shows and `astrogf ingest --kind` takes."""


class Survey(Section):
    """Which spectra, and which of them are good enough."""

    kind: Kind = Field(
        "lamost_lrs", description="files that are read; files of other kinds are set aside; stated: none of them"
    )
    window: Range = Field((4900.0, 5400.0), description="wavelengths that are fitted, vacuum Angstrom")
    windows: list[Range] = Field([], description="several windows instead of one, each with its own continuum")
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
    held_out_seed: Annotated[int, Field(ge=0)] = Field(0, description="seed of the choice, star by star")
    max_gap: Positive = Field(30.0, description="widest run of unusable pixels in the window, Angstrom")


class Model(Section):
    """The synthetic spectrum."""

    oversampling: Annotated[int, Field(ge=2, le=128)] = Field(36, description="synthesis steps in a survey pixel")
    depths: Annotated[int, Field(ge=16, le=256)] = Field(32, description="layers of an atmosphere")
    tau_top: float = Field(-5.0, description="log10 Rosseland optical depth of the first layer")
    tau_bottom: float = Field(1.5, description="log10 Rosseland optical depth of the last layer")
    angles: Annotated[int, Field(ge=1, le=16)] = Field(2, description="Gauss angles of the flux integral")
    line_cut: Positive = Field(2e-3, description="least line-to-continuum opacity of a line that is computed")
    single: bool = Field(False, description="line profiles in single precision")
    molecules: bool = Field(True, description="take the shipped molecular lines along")
    rv_reach: Positive = Field(500.0, description="largest radial velocity looked for, km/s")
    widest_sigma: Positive = Field(80.0, description="largest broadening (Gaussian sigma) there is room for, km/s")


class Lines(Section):
    """Which lines get a free log gf, and what is believed of it beforehand."""

    list: str | None = Field(None, description="line list of your own instead of the shipped atoms (see line-lists)")
    borrow_damping: bool = Field(True, description="where your list has no damping, take that of the shipped line")
    max_lines: Count = Field(1200, description="most lines with a free log gf, the most informative ones first")
    max_ratio: Fraction = Field(0.9, description="a line is freed if its expected posterior/prior sd is below this")
    least_strength: Positive = Field(0.02, description="least line-to-continuum opacity of a line that may be freed")
    floor: NotNegative = Field(0.0, description="systematic sd of every correction, dex, added to its posterior")
    unlisted: NotNegative = Field(0.0, description="Angstrom between lines that the list may lack (0: it is complete)")
    unlisted_where: Literal["everywhere", "suspect"] = Field("everywhere", description="or only where a first fit errs")
    unlisted_levels: Levels = Field([3.0], description="eV: one such line at every place for each lower level")
    unlisted_most: Count = Field(1000, description="most such lines where suspect, at the worst places first")
    least_group: Count = Field(8, description="lines of a species and quality that learn a prior sd of their own")
    prior_sd: Positive = Field(0.2, description="first prior sd of a correction, dex; each group then learns its own")


class Stars(Section):
    """Which stars are kept, and what is believed of their labels beforehand. Priors are [mean, sd]."""

    teff_range: Range = Field((4000.0, 7200.0), description="effective temperatures kept, K")
    max_chi2: Positive = Field(6.0, description="most chi2 per pixel of a star kept, list as it came")
    teff_prior: Normal = Field((5500.0, 1500.0), description="effective temperature, K")
    logg_prior: Normal = Field((3.5, 1.5), description="log surface gravity, dex (cgs)")
    feh_prior: Normal = Field((-0.3, 0.7), description="metallicity, dex")
    alpha_prior: Normal = Field((0.1, 0.12), description="alpha enhancement, dex")
    vmic_sd: Positive = Field(0.2, description="sd of microturbulence about its relation with teff and logg, km/s")
    rv_sd: Positive = Field(300.0, description="sd of the radial velocity about 0, km/s")
    resolution: Positive = Field(1800.0, description="resolving power, prior mean (shared by all stars)")
    resolution_sd: Positive = Field(150.0, description="its prior sd")
    resolution_scatter: Positive = Field(0.05, description="sd of a star's own ln resolution about the shared one")
    abundances: list[str] = Field([], description="elements whose [X/Fe] beyond alpha each star has of its own")
    abundance_sd: Positive = Field(0.1, description="its prior sd about 0, dex")


class Continuum(Section):
    """The smooth factor between model and observation, marginalised analytically."""

    degree: Annotated[int, Field(ge=0, le=30)] = Field(7, description="degree of the Chebyshev polynomial")
    scale: Positive | None = Field(None, description="Angstrom a degree in wide windows, where that makes more")


class Noise(Section):
    """What is added to the noise that the file states."""

    inflation: NotNegative | None = Field(
        None, description="model error relative to the flux; left out, it is learned for each release"
    )
    misfit: bool = Field(
        False, description="learn at which wavelengths the model is wrong for all stars, and raise the errors there"
    )
    line_scatter: NotNegative = Field(0.0, description="sd of every spectrum's own deviations of its lines, dex")


class Solver(Section):
    """How the fit is computed."""

    star_iterations: Count = Field(6, description="most iterations of the stars on their own")
    joint_iterations: Count = Field(7, description="most iterations of stars and log gf together")
    tolerance: Positive = Field(0.05, description="converged when steps are below this part of the posterior sd")
    method: Literal["gauss-newton", "laplace", "svi", "nuts"] = Field(
        "gauss-newton",
        description="laplace, svi and nuts go on from there, on the NumPyro model (small problems, one window)",
    )
    draws: Count = Field(500, description="draws a chain of nuts, steps of svi, pairs of gradients of laplace")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="seed of laplace, svi and nuts")
    chunk: Count = Field(16, description="stars computed at once: more memory, a little faster")


class Demo(Section):
    """The simulated survey of `astrogf demo`: of LAMOST LRS, MRS or stated spectra, as [survey] kind says."""

    stars: Count = Field(64, description="simulated stars")
    snr: Range = Field((30.0, 150.0), description="signal-to-noise ratios they are drawn from")
    scatter: Positive = Field(0.2, description="sd of the error that every line's log gf is given, dex")
    missing: Annotated[int, Field(ge=0, le=100)] = Field(0, description="strong lines that the list does not have")
    outlier_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(0.002, description="pixels struck by an outlier")
    oversampling: Annotated[int, Field(ge=2, le=128)] = Field(64, description="[model] oversampling of the truth")
    depths: Annotated[int, Field(ge=16, le=256)] = Field(48, description="[model] depths of the truth")
    seed: Annotated[int, Field(ge=0)] = Field(20261122, description="seed of everything random")


class Stated(Section):
    """A spectrum that does not say what it is, and what is known of its star: `[spectra.NAME]`, as many as wanted.

    With teff and logg it is an anchor: its labels hold the zero points of the fit.
    """

    file: str = Field(description="text or FITS; beside the configuration, in --spectra, or an absolute path")
    medium: Literal["air", "vacuum"] = Field(description="what the wavelengths are measured in")
    unit: Literal["Angstrom", "nm", "um"] = Field("Angstrom", description="unit of the wavelengths")
    star: str = Field("", description="name of the star; spectra of one name are held out together")
    snr: Positive = Field(100.0, description="signal-to-noise ratio of a sample, where the file has no errors")
    abundance_sd: Positive | None = Field(None, description="sd of its [X/Fe] about 0 (0.01 for the Sun), dex")
    line_scatter: Positive | None = Field(
        None, description="sd of its own deviations of lines, dex; needs [noise] line_scatter above 0"
    )
    xfe: dict[str, Normal] = Field({}, description="single [X/Fe] beyond alpha, or isotopes: { C = [0.1, 0.05] }")
    teff: Normal | None = Field(None, description="effective temperature [mean, sd], K")
    logg: Normal | None = Field(None, description="log surface gravity [mean, sd], dex")
    feh: Normal | None = Field(None, description="metallicity [mean, sd], dex")
    alpha: Normal | None = Field(None, description="alpha enhancement [mean, sd], dex")
    vmic: Normal | None = Field(None, description="microturbulence [mean, sd], km/s")
    rv: Normal | None = Field(None, description="radial velocity [mean, sd], km/s")
    resolution: Normal | None = Field(
        None, description="lambda / FWHM of all broadening, the star's own included [mean, sd]"
    )
    degrade: bool = Field(False, description="broaden to [stars] resolution and rebin to the survey's pixels")


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
    spectra: dict[str, Stated] = {}


DEMO: dict[str, dict[str, Any]] = {"model": {"oversampling": 48}}
"""How the demonstration differs from the defaults; configs/demo.toml says the same to a reader."""


def demo_config() -> Config:
    """The configuration of `astrogf demo` when no file is named."""
    return Config.model_validate(DEMO)


def load(path: Path) -> Config:
    """Read a TOML file. Raises AstrogfError that names file, section and key, and says what was expected."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AstrogfError(
            f"There is no configuration file {path}; copy configs/lamost_lrs.toml and edit it."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise AstrogfError(f"The configuration file {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise AstrogfError(f"{path} is not valid TOML: {error}.") from error
    return parse(_beside(raw, path.resolve().parent), str(path))


def _beside(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same with the names of files that lie relative to the configuration made absolute."""
    spectra = raw.get("spectra")
    inside = list(spectra.values()) if isinstance(spectra, dict) else []
    for section, key in [(raw.get("lines"), "list"), *((s, "file") for s in inside)]:
        if isinstance(section, dict) and isinstance(section.get(key), str) and (folder / section[key]).is_file():
            section[key] = str(folder / section[key])
    return raw


def parse(raw: dict[str, Any], source: str) -> Config:
    """Check a nested dictionary. Raises AstrogfError as `load` does; `source` is what messages call it."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = [_sentence(dict(e)) for e in error.errors()]
        text = problems[0] if len(problems) == 1 else "\n" + "\n".join(f"- {p}" for p in problems)
        raise AstrogfError(f"{source}: {text}") from error


def _sections() -> dict[str, type[Section]]:
    return {n: type(f.default) for n, f in Config.model_fields.items() if n != "spectra"} | {"spectra": Stated}


def _sentence(error: dict[str, Any]) -> str:
    """One of pydantic's errors as '[section] key: expected ..., got ...'."""
    section, *rest = (str(part) for part in error["loc"])
    if section == "spectra" and rest:
        name, *rest = rest
        if not rest:
            return f"[spectra]: expected sections such as [spectra.sun] with file and medium, got {error['input']!r}."
        if error["type"] == "missing":
            return f"[spectra.{name}] {rest[0]}: missing; {Stated.model_fields[rest[0]].description}."
    key = rest[0] if rest else None
    if error["type"] == "extra_forbidden":
        return _unknown_key(section, key) if key else _unknown_section(section, error["input"])
    if key is None:
        return f"[{section}]: expected a section with keys below it, got {error['input']!r}."
    return f"[{section}] {key}: expected {_expected(section, key, error)}, got {_shown(error['input'])}."


def _shown(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


def _expected(section: str, key: str, error: dict[str, Any]) -> str:
    """What pydantic wanted, in the words of somebody who writes TOML."""
    default = _sections()[section].model_fields[key].default
    if section == "spectra" and error["type"].startswith("tuple"):
        return "[mean, sd]"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
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
        title = "spectra.NAME" if name == "spectra" else name
        out += [f"## [{title}]", "", (model.__doc__ or "").strip(), "", "| key | default | meaning |", "|---|---|---|"]
        for key, field in model.model_fields.items():
            value = field.default
            shown = str(list(value)) if isinstance(value, tuple) else repr(value).replace("'", '"')
            if field.is_required():
                shown = "required"
            elif value is None:
                shown = "not set"
            out.append(f"| `{key}` | `{shown}` | {field.description} |")
        out.append("")
    return "\n".join(out)


if __name__ == "__main__":
    print(reference(), end="")
