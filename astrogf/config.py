"""The configuration of a run, read from a TOML file: the sections of the rooms below, put together.

A file needs only the keys that differ from the defaults. Unknown keys are refused, because a misspelt key that is
silently ignored changes a result without a word. What a key means stands where it is used: `inference.problem.options`,
`surveys.options`, `inference.rehearsal.options`.
"""

import difflib
import json
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from pydantic import ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from astrogf.base.constants import C_KMS
from astrogf.base.errors import AstrogfError
from astrogf.base.options import Section, complaint, keys_table
from astrogf.computing.options import ComputeOptions
from astrogf.emulator.options import TrainOptions
from astrogf.inference.problem.options import FitOptions, KnownLabels
from astrogf.inference.rehearsal.options import DemoOptions
from astrogf.surveys.options import StatedOptions, SurveyOptions


class Stated(KnownLabels, StatedOptions):
    """A spectrum that does not say what it is, and what is known of its star: `[spectra.NAME]`, as many as wanted.

    With teff and logg it is an anchor: its labels hold the zero points of the fit.
    """


class Config(FitOptions):
    """Everything a run was told. `Config()` is a complete run on LAMOST low-resolution spectra."""

    survey: SurveyOptions = SurveyOptions()
    demo: DemoOptions = DemoOptions()
    compute: ComputeOptions = ComputeOptions()
    spectra: dict[str, Stated] = {}

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """What keys of different sections say together, a sentence a line."""
        found = [*_of_windows(self), *_of_solver(self), *_of_spectra(self)]
        if found:
            raise PydanticCustomError("disagreement", "{text}", {"text": "\n".join(found)})
        return self


LISTED = ((4200.0, 9200.0), (15000.0, 17005.0))
"""Vacuum Angstrom that the shipped line lists cover (synthesis.lines.shipped, which needs JAX)."""
SIGMAS, BEYOND = 5.0, 5.0
"""Widths of the broadest kernel, and Angstrom of lines beyond a grid (synthesis.observed.grid, synthesis.linelists)."""


def _of_windows(c: Config) -> list[str]:
    """Windows where there are no lines, with what can be shifted or broadened into them."""
    if c.lines.list is not None:
        return []
    key = "windows" if c.survey.windows else "window"
    covered = " and ".join(f"{low:g}-{high:g}" for low, high in LISTED)
    # as inference.problem.setup takes them: the synthesis grid reaches so far beyond the pixels
    shift = (c.model.rv_reach + SIGMAS * c.model.widest_sigma) / C_KMS
    found = []
    for low, high in c.survey.all_windows:
        first, last = low * (1.0 - shift) - BEYOND, high * (1.0 + shift) + BEYOND
        if not any(start <= first and last <= stop for start, stop in LISTED):
            found.append(
                f"[survey] {key}: {low:g}-{high:g} A needs lines of {first:.0f}-{last:.0f} A ([model] rv_reach and "
                f"widest_sigma come on top); the shipped lists cover {covered} A (vacuum): narrow the window, or give "
                "a list of your own with [lines] list."
            )
    return found


def _of_solver(c: Config) -> list[str]:
    """What only the solvers of surveys can do, and what is said of a solver that is not asked for."""
    if c.solver.batch is not None and c.solver.method != "svi":
        return [f"[solver] batch: svi alone takes stars in batches, and method is {c.solver.method!r}: drop it."]
    if c.solver.method in ("gauss-newton", "svi"):
        return []
    asked = [
        said
        for wanted, said in (
            (len(c.survey.all_windows) > 1, "several [survey] windows"),
            (c.noise.line_scatter > 0, f"[noise] line_scatter = {c.noise.line_scatter:g}"),
            (c.noise.line_drift > 0, f"[noise] line_drift = {c.noise.line_drift:g}"),
            (c.lines.unlisted > 0, f"[lines] unlisted = {c.lines.unlisted:g}"),
            (c.lines.blends, "[lines] blends"),
            (c.lines.prior is not None, "[lines] prior"),
        )
        if wanted
    ]
    if not asked:
        return []
    cannot = f"{c.solver.method!r} cannot do {' and '.join(asked)}"
    return [f"[solver] method: {cannot}; expected 'gauss-newton' or 'svi' with it."]


def _of_spectra(c: Config) -> list[str]:
    """Stated spectra that are the same file, or whose stars are known in ways that the run has no room for."""
    found, files = [], dict[str, str]()
    for name, said in c.spectra.items():
        place = f"[spectra.{name}]"
        file = os.path.normpath(said.file)
        if file in files:
            found.append(f"{place} file: [spectra.{files[file]}] is the same file; its photons would count twice.")
        files.setdefault(file, name)
        if said.line_scatter is not None and c.noise.line_scatter == 0:
            found.append(f"{place} line_scatter: needs [noise] line_scatter above 0, which is 0.")
        for element in said.xfe:
            if element not in c.stars.abundances:
                found.append(f"{place} xfe: {element} is not in [stars] abundances; add it there.")
        if said.rv is not None and abs(said.rv[0]) > c.model.rv_reach:
            found.append(
                f"{place} rv: {said.rv[0]:g} km/s is beyond [model] rv_reach, which is {c.model.rv_reach:g} km/s."
            )
    return found


SECTIONS = ("survey", "model", "lines", "stars", "continuum", "noise", "solver", "compute", "demo")
"""Sections in the order of the reference page; [spectra.NAME] follow."""


DEMO: dict[str, dict[str, Any]] = {"model": {"oversampling": 48}}
"""How the demonstration differs from the defaults; configs/demo.toml says the same to a reader."""


def demo_config() -> Config:
    """The configuration of `astrogf demo` when no file is named."""
    return Config.model_validate(DEMO)


def load(path: Path) -> Config:
    """Read a TOML file. Raises AstrogfError that names file, section and key, and says what was expected."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise AstrogfError(
            f"There is no configuration file {path}; `astrogf init --out {path}` writes one to begin with."
        ) from None
    except UnicodeDecodeError as error:
        raise AstrogfError(f"The configuration file {path} is no text in UTF-8; save it as that.") from error
    except OSError as error:
        raise AstrogfError(f"The configuration file {path} cannot be read: {error.strerror or error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise AstrogfError(f"{path} is not valid TOML: {error}.") from error
    return parse(_with_anchors(_beside(raw, path.resolve().parent), str(path)), str(path))


def _beside(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same with the names of files and runs that lie relative to the configuration made absolute."""
    spectra = raw.get("spectra")
    inside = list(spectra.values()) if isinstance(spectra, dict) else []
    lines = raw.get("lines")
    named = [(lines, "list"), (lines, "prior"), (raw.get("survey"), "anchors"), *((s, "file") for s in inside)]
    for section, key in named:
        # a run is a folder, everything else a file
        there = Path.is_dir if key == "prior" else Path.is_file
        if isinstance(section, dict) and isinstance(section.get(key), str) and there(folder / section[key]):
            section[key] = str(folder / section[key])
    return raw


def _with_anchors(raw: dict[str, Any], source: str) -> dict[str, Any]:
    """The same with a section for each row of the table of anchors; keys of a section of that name count instead of the
    table's. Raises AstrogfError."""
    survey, own = raw.get("survey"), raw.get("spectra", {})
    table = survey.get("anchors") if isinstance(survey, dict) else None
    if not isinstance(table, str) or not isinstance(own, dict):
        return raw
    from astrogf.surveys.anchors import sections

    try:
        found = sections(Path(table))
    except AstrogfError as error:
        raise AstrogfError(f"{source}: [survey] anchors: {error}", error.reason) from error
    said = {name: {**row, **own[name]} if isinstance(own.get(name), dict) else row for name, row in found.items()}
    return raw | {"spectra": own | said}


def parse(raw: dict[str, Any], source: str) -> Config:
    """Check a nested dictionary. Raises AstrogfError as `load` does; `source` is what messages call it."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = [said for e in error.errors() for said in _sentences(dict(e))]
        text = problems[0] if len(problems) == 1 else "\n" + "\n".join(f"- {p}" for p in problems)
        raise AstrogfError(f"{source}: {text}") from error


def as_recorded(raw: dict[str, Any]) -> dict[str, Any]:
    """The configuration in a run's record, with options that the run's version did not have at what it then did."""
    return raw | {"lines": {"borrow_structure": False} | (raw.get("lines") or {})}


def _sections() -> dict[str, type[Section]]:
    return {name: type(Config.model_fields[name].default) for name in SECTIONS} | {"spectra": Stated}


def _sentences(error: dict[str, Any]) -> list[str]:
    if error["type"] == "disagreement":
        return str(error["ctx"]["text"]).splitlines()
    return [_sentence(error)]


def _sentence(error: dict[str, Any]) -> str:
    """One of pydantic's errors as '[section] key: expected ..., got ...'."""
    section, *rest = (str(part) for part in error["loc"])
    place = section
    if section == "spectra" and rest:
        name, *rest = rest
        place = f"spectra.{name}"
        if not rest:
            return f"[spectra]: expected sections such as [spectra.sun] with file and medium, got {error['input']!r}."
        if error["type"] == "missing":
            return f"[spectra.{name}] {rest[0]}: missing; {Stated.model_fields[rest[0]].description}."
    key = rest[0] if rest else None
    if error["type"] == "extra_forbidden":
        return _unknown_key(section, key, place) if key else _unknown_section(section, error["input"])
    if key is None:
        return f"[{section}]: expected a section with keys below it, got {error['input']!r}."
    return complaint(error, _sections()[section], key, f"[{place}] {key}")


def _unknown_key(section: str, key: str, place: str) -> str:
    """`place`: what the sentence calls the section."""
    sections = _sections()
    names = list(sections[section].model_fields)
    elsewhere = [name for name, model in sections.items() if key in model.model_fields]
    near = difflib.get_close_matches(key, names, n=1)
    if elsewhere:
        advice = f"it belongs in [{elsewhere[0]}]."
    elif near:
        advice = f"did you mean '{near[0]}'?"
    else:
        advice = f"this section has {', '.join(names)}."
    return f"[{place}] {key}: unknown key; {advice}"


def _unknown_section(name: str, value: Any) -> str:
    sections = _sections()
    if not isinstance(value, dict):
        homes = [s for s, model in sections.items() if name in model.model_fields]
        place = f"put it below [{homes[0]}]." if homes else "every key belongs below a [section]."
        return f"{name}: a key outside any section; {place}"
    near = difflib.get_close_matches(name, sections, n=1)
    advice = f"did you mean [{near[0]}]?" if near else f"there are {', '.join(f'[{s}]' for s in sections)}."
    return f"[{name}]: unknown section; {advice}"


def _as_toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_as_toml(v) for v in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_as_toml(v)}" for key, v in value.items()) + "}"
    return json.dumps(value) if isinstance(value, str) else repr(value)


HEADING = [
    "# A joint fit of LAMOST low-resolution spectra. Copy this file and edit the copy:",
    "#     astrogf fit my.toml --spectra DIR --out runs/mine",
    "# Every key stands at its default here, so a file needs only the keys that differ from these.",
    "# Written by `make reference` from the code.",
]


def sample(
    changes: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    heading: Sequence[str] = HEADING,
    example: tuple[str, Mapping[str, Any]] | None = None,
) -> str:
    """A configuration file that says every key with what it means: made from the definitions.

    Keys stand at their defaults but for `changes`, by section, whose comments say so. `example` is the name of a
    section [spectra.NAME] and its values; keys without one stand there as comments.
    """
    out = [*heading]
    for name, model in _sections().items():
        if name in ("demo", "spectra"):
            continue
        out += ["", f"[{name}]", *_summary(model)]
        out += [_setting(key, field, changes.get(name, {})) for key, field in model.model_fields.items()]
    if example is not None:
        name, values = example
        out += ["", f"[spectra.{name}]", *_summary(Stated)]
        out += [_setting(key, field, values, marked=False) for key, field in Stated.model_fields.items()]
    return "\n".join(out) + "\n"


def _summary(model: type[Section]) -> list[str]:
    """What a section is for, as comments."""
    return [f"# {(model.__doc__ or '').strip().splitlines()[0]}"]


def _setting(key: str, field: FieldInfo, values: Mapping[str, Any], marked: bool = True) -> str:
    """One key with its value, which is that of `values` or the default, and what it means."""
    if key in values:
        setting = f"{key} = {_as_toml(values[key])}"
        nothing = field.default is None or field.default == ()
        note = f" (default: {'none' if nothing else _as_toml(field.default)})" if marked else ""
    else:
        example = "" if field.default is None or field.is_required() else f" {_as_toml(field.default)}"
        commented = field.default is None or not marked
        setting, note = (f"# {key} ={example}" if commented else f"{key} ={example}"), ""
    return f"{setting:<29} # {field.description}{note}"


def reference() -> str:
    """The configuration page's tables (Markdown), written from the definitions so that they cannot fall behind."""
    titles = {name: f"[{name}]" for name in _sections()} | {"spectra": "[spectra.NAME]"}
    parts = [f"## {titles[name]}\n\n{keys_table(model)}" for name, model in _sections().items()]
    return "\n".join([*parts, f"## The file of `astrogf train`\n\n{keys_table(TrainOptions)}"])


if __name__ == "__main__":
    print(sample() if sys.argv[1:] == ["sample"] else reference(), end="")
