"""What is said of a run: its headline figures in words, and messages about options as somebody in Python gives them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from astrogf.base.errors import AstrogfError

LABELS = {"teff": ("Teff", "K", 0), "logg": ("log g", "dex", 3), "feh": ("[Fe/H]", "dex", 3)}


def headline(summary: dict[str, Any], reference: str | None) -> list[tuple[str, str]]:
    """The figures of summary.json in words, those that apply."""
    s = summary
    rows = [
        ("stars used", f"{s['stars_used']}"),
        ("files set aside", f"{s['stars_set_aside']}"),
        ("lines with a free log gf", f"{s['lines_free']}"),
        ("of these informed (posterior/prior sd below 0.5)", f"{s['informed_lines']}"),
        ("χ² per pixel, original list", _number(s["chi2_per_pixel_original"], ".4f")),
        ("χ² per pixel, corrected list", _number(s["chi2_per_pixel_corrected"], ".4f")),
    ]
    if s["coverage_68"] is not None:
        rows += [
            ("injected errors within their 68% intervals", f"{100 * s['coverage_68']:.1f}%"),
            ("injected errors within their 95% intervals", f"{100 * s['coverage_95']:.1f}%"),
            ("the same of informed lines", ", ".join(_percent(s[f"coverage_{k}_informed"]) for k in (68, 95))),
            ("rms of recovered − injected, informed lines", _number(s["rms_informed_dex"], ".3f") + " dex"),
        ]
    for name, value in (s["label_scatter"] or {}).items():
        text, unit, digits = LABELS[name]
        if value["n"]:
            spread = _number(value["robust_sigma"], f".{digits}f")
            shown = f"median {value['median']:+.{digits}f}, robust σ {spread} {unit} (n = {value['n']})"
            rows.append((f"{text} − {reference}", shown.replace("-", "−")))
            if reference == "truth":
                within = f"{100 * value['within_1sd']:.1f}%, {100 * value['within_2sd']:.1f}%"
                rows.append((f"{text}: within 1, 2 posterior sd", within))
    if s["jacobian_cost_ratio"] is not None:
        rows.append(("time of a pass with all derivatives / of a synthesis", f"{s['jacobian_cost_ratio']:.2f}"))
    rows.append(("wall-clock", f"{_number(s['seconds'], '.0f')} s"))
    rows.append(("peak memory", f"{_number(s['peak_memory_gb'], '.2f')} GB"))
    return rows


def unconverged(solver: dict[str, Any]) -> str | None:
    """What to do about a fit that came to its last iteration before it converged, a sentence; None where it did."""
    if solver.get("status") != "max_iterations":
        return None
    joint = [one for one in solver["trace"] if "shared_step_sd" in one]
    last = ""
    if joint:
        last = ": in its last iteration log gf moved by {shared_step_sd:.2f} posterior sd, stars by {star_step_sd:.2f}"
        last = last.format(**joint[-1])
    return f"The fit has not converged{last}. Raise [solver] joint_iterations in the configuration, and fit again."


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f}%"


def _number(value: float | None, form: str) -> str:
    return "—" if value is None else format(value, form)


ARGUMENT = {
    "list": "lines_at",
    "all": "everything=True",
    "overwrite": "overwrite=True",
    "resume": "resume=True",
    "values": "values=True",
}
"""Options of commands whose argument in Python has another name, or is True."""


def arguments_for_options(sentence: str) -> str:
    """A sentence with the options of commands as arguments.

    >>> arguments_for_options("name another folder with --out, or add --overwrite to replace the run")
    'name another folder with out, or add overwrite=True to replace the run'
    """
    return re.sub(r"--([a-z][a-z-]*)", lambda m: ARGUMENT.get(m[1], m[1].replace("-", "_")), sentence)


@contextmanager
def in_python() -> Iterator[None]:
    """Within, an AstrogfError of what is also a command speaks of arguments."""
    try:
        yield
    except AstrogfError as error:
        sentence = arguments_for_options(str(error))
        if sentence == str(error):
            raise
        raise type(error)(sentence, error.reason, set_aside=error.set_aside) from error
