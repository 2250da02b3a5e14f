"""astrogf: oscillator strengths and stellar labels from the spectra of a whole survey.

This room is the face: command line, run configuration, run folder, report; and the names below, to be used from
Python. Nothing here imports JAX before one of them is used, so that help and mistakes in a configuration answer at
once. The first that is used has JAX keep its compiled programs on disk, where it keeps none yet.

    import astrogf

    run = astrogf.fit("my.toml", "lamost/", "runs/first")
    run = astrogf.open_run("runs/first")
    run.lines, run.used, run.spectra, run.covariance, run.plot("corrections")

    spectrum = astrogf.synthesize((5777, 4.44, 0.0, 0.0), None, 5160, 5190, medium="air", resolution=50_000)
    lines = astrogf.read_lines("sun.vald")
    star = astrogf.read_atmosphere(Path("sun.atm"))
    spectrum = astrogf.synthesize(star, lines, 5160, 5190, vmic=1.0, abundances={"Mg": 0.1})

Arguments take plain numbers, in the units that their docstrings name, or astropy's Quantities.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from astrogf.base.precision import use_double_precision

__version__ = "0.1.0"

use_double_precision()

if TYPE_CHECKING:
    from astrogf.api import fit, open_run
    from astrogf.base.errors import AstrogfError, AstrogfWarning
    from astrogf.emulator.decks import read_deck as read_atmosphere
    from astrogf.emulator.structure import Structure
    from astrogf.runs.run import Run
    from astrogf.synthesis.lineio import read_lines, rewrite_lines, write_lines
    from astrogf.synthesis.lines.linelist import LineList
    from astrogf.synthesis.lines.shipped import load_all_lines as load_lines
    from astrogf.synthesis.spectrum import Physics, Spectrum, Synthesis
    from astrogf.synthesis.synthesize import prepare, synthesize

_PUBLIC = {
    "AstrogfError": "astrogf.base.errors:AstrogfError",
    "AstrogfWarning": "astrogf.base.errors:AstrogfWarning",
    "LineList": "astrogf.synthesis.lines.linelist:LineList",
    "Physics": "astrogf.synthesis.spectrum:Physics",
    "Run": "astrogf.runs.run:Run",
    "Spectrum": "astrogf.synthesis.spectrum:Spectrum",
    "Structure": "astrogf.emulator.structure:Structure",
    "Synthesis": "astrogf.synthesis.spectrum:Synthesis",
    "fit": "astrogf.api:fit",
    "load_lines": "astrogf.synthesis.lines.shipped:load_all_lines",
    "open_run": "astrogf.api:open_run",
    "prepare": "astrogf.synthesis.synthesize:prepare",
    "read_atmosphere": "astrogf.emulator.decks:read_deck",
    "read_lines": "astrogf.synthesis.lineio:read_lines",
    "rewrite_lines": "astrogf.synthesis.lineio:rewrite_lines",
    "synthesize": "astrogf.synthesis.synthesize:synthesize",
    "write_lines": "astrogf.synthesis.lineio:write_lines",
}
"""Public name: module and name there."""

__all__ = [
    "AstrogfError",
    "AstrogfWarning",
    "LineList",
    "Physics",
    "Run",
    "Spectrum",
    "Structure",
    "Synthesis",
    "fit",
    "load_lines",
    "open_run",
    "prepare",
    "read_atmosphere",
    "read_lines",
    "rewrite_lines",
    "synthesize",
    "write_lines",
]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'astrogf' has no attribute {name!r}; public are {', '.join(__all__)}")
    from astrogf.runtime import set_up_xla, use_compilation_cache

    use_compilation_cache()
    set_up_xla()
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
