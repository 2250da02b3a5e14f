"""All interactive pictures of a run as parts of a page: Bokeh's script, the data, and a place for each picture."""

from typing import Any, NamedTuple

from bokeh.embed import components
from bokeh.resources import Resources

from astrogf.fitting.figures import chosen
from astrogf.fitting.live import lines, spectra, stars
from astrogf.runs.run import Run


class Live(NamedTuple):
    """What a page needs: `library` is JavaScript, `script` and the places of `figures` HTML; `spectra` says of which
    star each picture is and why, in the order shown."""

    library: str
    script: str
    figures: dict[str, str]
    spectra: list[dict[str, Any]]


def live(run: Run) -> Live:
    """The pictures of a run."""
    shown = chosen(run)
    made = lines.figures(run) | stars.figures(run) | {"posterior_to_prior": lines.posterior_to_prior(run)}
    made |= {f"spectrum_{k}": spectra.spectrum(run, one.row) for k, one in enumerate(shown, start=1)}
    for name, one in made.items():
        one.name = name
    script, places = components(made)
    # the figures need no widgets and no tables of Bokeh's, whose scripts are apart
    library = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
    about = [{"name": f"spectrum_{k}", "row": one.row, "why": one.why} for k, one in enumerate(shown, start=1)]
    return Live(library, script, dict(places), about)
