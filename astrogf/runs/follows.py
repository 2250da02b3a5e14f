"""What the numbers of a run follow from, so that one that was cut short goes on only with just that."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from astrogf import __version__, base, emulator, inference, surveys, synthesis
from astrogf.base.errors import AstrogfError
from astrogf.base.kept import content_of, digest
from astrogf.config import Config
from astrogf.synthesis.lines.linelist import LineList

LIBRARIES = ("jax", "jaxlib", "equinox", "optax", "numpyro", "numpy", "scipy", "astropy")
FREE = {"demo", "compute"}
"""Sections of the configuration that no number follows from."""
NAMED = 3
"""Files or keys that a sentence names; of more it says how many."""


def of_request(config: Config, lines: LineList | None, prior: Sequence[Any] | None = None) -> dict[str, Any]:
    """What is known before the spectra are read: configuration, line list (None: the shipped one, which belongs to the
    code), what another run knows of the lines (its `Statistics`), code and libraries."""
    rooms = [Path(room.__file__ or "").parent for room in (base, emulator, synthesis, surveys, inference)]
    return {
        "config": config.model_dump(mode="json", exclude=FREE),
        "lines": None if lines is None else digest(*lines),
        "prior": None if prior is None else digest(*prior),
        "code": {"astrogf": __version__, "source": content_of(*rooms)},
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }


def of_inputs(spectra: Mapping[str, str], labels: str | None) -> dict[str, Any]:
    """Path and sha256 of every spectrum that is fitted, and the sha256 of the table that labels have priors from."""
    return {"spectra": dict(spectra), "labels": labels}


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raises AstrogfError, which names what changed, where `now` is not what the run in `folder` began with; only what
    both have is looked at."""
    found = [_SAID[name](before[name], value) for name, value in now.items() if before.get(name, value) != value]
    if found:
        raise AstrogfError(
            f"The run in {folder} cannot be gone on with, because its numbers would be of two kinds: "
            f"{'; '.join(found)}. Undo that, name another folder with --out, or begin anew with --overwrite."
        )


def _config(before: Any, now: Any) -> str:
    keys = _flat(before), _flat(now)
    changed = [k for k in dict.fromkeys([*keys[0], *keys[1]]) if keys[0].get(k) != keys[1].get(k)]
    said = [f"{k} is {_short(keys[1].get(k))} and was {_short(keys[0].get(k))}" for k in changed]
    return f"the configuration changed ({_some(said)})"


def _spectra(before: Any, now: Any) -> str:
    kinds = {
        "changed": [p for p in now if p in before and before[p] != now[p]],
        "no longer used": [p for p in before if p not in now],
        "new": [p for p in now if p not in before],
    }
    said = [f"{kind}: {_some(paths)}" for kind, paths in kinds.items() if paths]
    return f"the spectra changed ({'; '.join(said)})"


def _libraries(before: Any, now: Any) -> str:
    said = [f"{k} {v}, was {before.get(k)}" for k, v in now.items() if before.get(k) != v]
    return f"libraries changed ({_some(said)})"


def _code(before: Any, now: Any) -> str:
    versions = [x.get("astrogf") for x in (before, now)]
    return "the code of astrogf changed" + (f" (from {versions[0]} to {versions[1]})" if len(set(versions)) > 1 else "")


_SAID = {
    "config": _config,
    "lines": lambda *_: "the line list changed (lines.list)",
    "prior": lambda *_: "what the run of lines.prior knows changed",
    "code": _code,
    "libraries": _libraries,
    "spectra": _spectra,
    "labels": lambda *_: "the table of labels changed (--labels)",
}


def _flat(nested: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Keys as 'section.key'."""
    found: dict[str, Any] = {}
    for key, value in nested.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found


def _short(value: Any) -> str:
    text = "left out" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return ", ".join(items[:NAMED]) + more
