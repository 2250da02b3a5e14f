"""The report: every picture is in it, it needs no network, and the run folder alone is enough to draw it."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from astrogf import style
from astrogf.fitting import figures, report
from astrogf.fitting.live import page
from astrogf.runs import folder as runs
from astrogf.runs import summary, tables
from tests.builders.believable import believable, set_aside
from tests.builders.believable_run import make

PICTURES = set(report.CAPTIONS)


class Page(HTMLParser):
    """Collects what a page shows and what it points to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        values = dict(attrs)
        self.ids.add(values.get("id", ""))
        if tag == "img":
            self.images.append(values)
        self.links += [values[k] for k in ("href", "src") if k in values]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[runs.Run, Page]:
    run = make(tmp_path_factory.mktemp("report") / "demo", known=True)
    return run, Page(report.write_report(run).read_text(encoding="utf-8"))


def test_all_pictures_are_in_the_page_and_in_the_folder(drawn: tuple[runs.Run, Page]) -> None:
    run, page = drawn
    names = PICTURES | {f"spectrum_{k}" for k in range(1, len(figures.chosen(run)) + 1)}
    assert names <= page.ids
    assert {p.stem for p in (run.folder / "figures").glob("*.png")} == names
    embedded = {base64.b64decode(i["src"].partition(",")[2]) for i in page.images}
    assert embedded == {p.read_bytes() for p in (run.folder / "figures").glob("*.png")}
    assert all(png.startswith(b"\x89PNG") for png in embedded)
    assert all(i["alt"] for i in page.images)


def test_the_page_needs_no_network(drawn: tuple[runs.Run, Page]) -> None:
    run, page = drawn
    assert all(link.startswith(("#", "data:image/png")) for link in page.links)
    text = (run.folder / "report.html").read_text()
    assert not re.search(r"@import|url\(", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))
    # what the pictures' library asks for, a browser says in test_report_live.py
    assert "@import" not in text
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids


def test_the_page_says_the_headline_figures(drawn: tuple[runs.Run, Page]) -> None:
    run, page = drawn
    for shown in (
        f"{run.summary['chi2_per_pixel_corrected']:.4f}",
        f"{100 * run.summary['coverage_68']:.1f}%",
        f"{run.summary['informed_lines']}",
        "snr_too_low",
        "picture.fits",
        "near the edge in feh",
    ):
        assert shown in page.text


def test_without_a_reference_nothing_is_compared(tmp_path: Path) -> None:
    run = make(tmp_path / "fit", known=False)
    page = Page(report.write_report(run).read_text(encoding="utf-8"))
    assert page.ids & {"labels", "injected"} == set()
    assert "no reference labels were given" in page.text.lower()
    assert "9 of 30 came out stronger than 2 prior sds" in page.text


def test_file_names_cannot_smuggle_markup(tmp_path: Path) -> None:
    run = make(tmp_path / "fit", known=False)
    run.set_aside["path"] = ["<script>x</script>"] + ["a"] * 4
    report.write_report(run, report.draw(run))
    assert "<script>x" not in (run.folder / "report.html").read_text()


def test_small_runs_can_be_drawn(tmp_path: Path) -> None:
    result, _ = believable(stars=1, lines=2)
    result.lines["ratio"] = 0.9
    record = {"solver": {"status": "max_iterations", "trace": []}, "config": {}, "reference": None}
    stars, lines = tables.star_table(result, set_aside()[:0]), tables.line_table(result)
    runs.write_record(tmp_path, record)
    runs.write_results(tmp_path, result, stars, lines, set_aside()[:0])
    runs.write_summary(tmp_path, summary.summarise(result, lines, stars))
    run = runs.read(tmp_path)
    assert len(report.draw(run)) == 8
    assert {"corrections", "kiel", "chi2", "spectrum_1", "by_species"} <= set(page.live(run).figures)


def test_pictures_leave_bad_pixels_out(drawn: tuple[runs.Run, Page]) -> None:
    run, _ = drawn
    with style.paper():
        figure = figures.spectrum(run, 5)
    observed = figure.axes[0].lines[0].get_ydata()
    assert np.isnan(np.asarray(observed)[200:240]).all()
    z = figures.normalised_residuals(run)
    assert len(z) == int(np.sum(run.spectra.ivar > 0))
    assert np.isfinite(z).all()
