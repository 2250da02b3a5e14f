"""What the command line does, from Python: `fit` and `open_run`, which give a `Run`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrogf.runs.run import Run, read
from astrogf.runs.words import in_python

if TYPE_CHECKING:
    from astrogf.config import Config


def fit(
    config: "Config | Mapping[str, Any] | Path | str",
    spectra: Path | str,
    out: Path | str | None = None,
    *,
    labels: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
) -> Run:
    """Fit stars and log gf jointly to a directory of spectra, as `astrogf fit` does; the run that it wrote.

    - `config`: a TOML file as `astrogf init` writes it, or the same as nested dictionaries, in which values may have
      units: {"survey": {"window": [500, 530] * u.nm}}. Wavelengths are those of vacuum. {} takes every default.
    - `spectra`: the directory, searched with all below it.
    - `out`: folder of the run, new or empty; left out, runs/NAME, where NAME is that of the directory.
    - `labels`: a table of labels to compare with. `overwrite` replaces the run in the folder, `resume` goes on with
      it, `quiet` says nothing of the progress.

    Raises AstrogfError, with a sentence, for whatever can be put right, before anything is computed where possible.

    >>> run = astrogf.fit("my.toml", "lamost/", "runs/first")  # doctest: +SKIP
    >>> run.plot("corrections").savefig("corrections.pdf")  # doctest: +SKIP
    """
    from rich.console import Console

    with in_python():
        settings = _config(config)
        from astrogf.fitting.pipeline import fit_survey

        spectra = Path(spectra).expanduser()
        out = Path("runs") / spectra.resolve().name if out is None else Path(out).expanduser()
        beside = None if labels is None else Path(labels).expanduser()
        console = Console(quiet=True) if quiet else None
        return fit_survey(settings, spectra, out, labels=beside, overwrite=overwrite, resume=resume, console=console)


def open_run(folder: Path | str) -> Run:
    """The finished run in a folder that `astrogf.fit`, `astrogf fit` or `astrogf demo` wrote.

    Raises AstrogfError for what is no run, or an unfinished one.

    >>> run = astrogf.open_run("runs/first")
    >>> run.lines["wavelength", "species", "correction", "posterior_sd"][0].colnames
    ['wavelength', 'species', 'correction', 'posterior_sd']
    >>> int(run.summary["stars_used"]) == len(run.used)
    True
    """
    return read(Path(folder).expanduser())


def _config(config: "Config | Mapping[str, Any] | Path | str") -> "Config":
    from astrogf.base.quantities import bare_tree
    from astrogf.config import Config, load, parse

    if isinstance(config, Config):
        return config
    if isinstance(config, Mapping):
        return parse(bare_tree(config), "config")
    return load(Path(config).expanduser())
