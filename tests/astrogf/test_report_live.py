"""The report in a browser: pictures move, points say what they are, nothing is fetched, paper and old browsers read it.

Needs Chromium on the machine (Debian's `chromium`) and playwright; without them the tests are skipped.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from astrogf.fitting import figures, report
from astrogf.fitting.live import lines, page, spectra
from astrogf.runs import folder as runs
from tests.builders.believable_run import make

WIDE, NARROW = (1280, 900), (400, 800)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    run = make(tmp_path_factory.mktemp("live") / "demo", known=True)
    report.write_report(run)
    return run


@pytest.fixture(scope="module")
def browser() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine (apt install chromium)")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """The report in a window, with what it complained of and what it asked for."""

    def __init__(self, browser, run: runs.Run, size=WIDE, **more) -> None:
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]}, **more)
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto((run.folder / "report.html").resolve().as_uri())
        if more.get("java_script_enabled", True):
            self.page.wait_for_function("window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")

    def model(self, name: str, what: str):
        """A value of the model of this name in Bokeh's document, as JavaScript has it from `m`."""
        return self.page.evaluate(
            f"(() => {{ const m = Bokeh.documents[0].get_model_by_name({name!r}); return {what} }})()"
        )

    def place(self, name: str, x: float, y: float) -> tuple[float, float]:
        """Where a point of a figure is in the window, the figure scrolled into it."""
        self.page.locator(f'[data-picture="{name}"]').evaluate("picture => picture.scrollIntoView({block: 'center'})")
        self.page.wait_for_timeout(300)
        code = f"""(() => {{
            const v = Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name({name!r}));
            const box = v.canvas_view.el.getBoundingClientRect();
            return [box.x + v.frame.x_scale.compute({x}), box.y + v.frame.y_scale.compute({y})] }})()"""
        return tuple(self.page.evaluate(code))

    def said_at(self, name: str, x: float, y: float) -> str:
        """What is shown beside the pointer when it comes to a point of a figure."""
        across, down = self.place(name, x, y)
        said = ""
        for _ in range(20):  # a loaded machine takes its time
            self.page.mouse.move(across - 6, down)  # a first event only tells that it is over the figure
            self.page.mouse.move(across, down, steps=3)
            self.page.wait_for_timeout(400)
            said = " ".join(self.page.locator(".bk-tooltip-content").all_inner_texts())
            if said.strip():
                break
        return said


@pytest.fixture(scope="module")
def wide(browser, run) -> Iterator[Opened]:
    opened = Opened(browser, run)
    yield opened
    opened.page.close()


def test_every_picture_is_drawn_and_nothing_is_fetched(wide, run):
    pictures = wide.page.locator(".live")
    assert pictures.count() == len(page.live(run).figures) > 15
    for k in range(pictures.count()):
        pictures.nth(k).scroll_into_view_if_needed()
        box = pictures.nth(k).locator("canvas").first.bounding_box()
        assert box["width"] > 250
        assert box["height"] > 150
    assert not wide.page.locator("img.still").first.is_visible()
    assert wide.errors == []
    assert {url.partition(":")[0] for url in wide.asked} <= {"file", "data"}
    assert [url for url in wide.asked if url.startswith("file:")] == [(run.folder / "report.html").resolve().as_uri()]


def test_dragging_moves_a_picture_and_the_arrow_brings_it_back(wide):
    def start() -> float:
        return wide.model("corrections", "m.x_range.start")

    before = start()
    x, y = wide.place("corrections", 5150.0, 0.0)
    wide.page.mouse.move(x, y)
    wide.page.mouse.down()
    wide.page.mouse.move(x + 120, y, steps=6)
    wide.page.mouse.up()
    assert start() < before - 10.0
    wide.page.locator('[data-picture="corrections"] .bk-tool-icon-reset').click()
    assert start() == pytest.approx(before, abs=0.5)


def test_the_wheel_zooms_a_spectrum_and_its_residuals_once_it_is_chosen(wide, run):
    def width(child: int) -> float:
        return wide.model("spectrum_1", f"m.children[{child}].x_range.end - m.children[{child}].x_range.start")

    full = run.spectra.wavelength[-1] - run.spectra.wavelength[0]
    assert width(0) == pytest.approx(full)
    picture = wide.page.locator('[data-picture="spectrum_1"]')
    picture.scroll_into_view_if_needed()
    box = picture.locator("canvas").first.bounding_box()

    def roll() -> None:
        wide.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        wide.page.mouse.wheel(0, -400)
        wide.page.wait_for_timeout(300)

    picture.locator(".bk-tool-icon-x-wheel-zoom, .bk-tool-icon-wheel-zoom").first.click()
    box = picture.locator("canvas").first.bounding_box()
    roll()
    assert width(0) < 0.9 * full
    assert width(1) == pytest.approx(width(0))


def test_points_say_which_star_or_line_they_are(wide, run):
    star = int(np.argmin(run.used["logg"]))
    said = wide.said_at("kiel", float(run.used["teff"][star]), float(run.used["logg"][star]))
    assert str(run.used["path"][star]) in said
    row = run.lines[int(np.argmax(run.lines["correction"]))]
    said = wide.said_at("corrections", float(row["wavelength"]), float(row["correction"]))
    assert f"{row['species']} {row['wavelength']:.3f}" in said


def test_what_is_clicked_in_one_picture_stands_out_in_the_others(wide, run):
    line = int(np.argmax(run.lines["correction"]))
    row = run.lines[line]
    wide.page.mouse.click(*wide.place("corrections", float(row["wavelength"]), float(row["correction"])))
    wide.page.wait_for_timeout(300)
    chosen = "m.renderers[0].data_source.selected.indices"
    for name in ("corrections", "by_excitation", "by_species", "by_class", "injected"):
        assert line in wide.model(name, chosen)


def test_a_narrow_screen_is_not_overflowed(browser, run):
    narrow = Opened(browser, run, NARROW)
    assert narrow.page.evaluate("document.documentElement.scrollWidth") == NARROW[0]
    box = narrow.page.locator('[data-picture="kiel"] canvas').first.bounding_box()
    assert box["width"] <= NARROW[0]
    narrow.page.close()


def test_paper_and_a_browser_without_scripts_show_the_pictures(browser, run):
    opened = Opened(browser, run)
    opened.page.emulate_media(media="print")
    bare = Opened(browser, run, java_script_enabled=False)
    for one in (opened, bare):
        stills = one.page.locator("img.still")
        assert stills.count() > 10
        assert all(stills.nth(k).is_visible() for k in range(stills.count()))
        assert not one.page.locator(".live").first.is_visible()
        one.page.close()


def test_stars_are_chosen_once_and_the_worst_and_best_are_among_them(run):
    chosen = figures.chosen(run)
    rows = [one.row for one in chosen]
    assert len(set(rows)) == len(rows)
    chi2 = np.asarray(run.used["chi2_per_pixel_corrected"])
    assert {int(np.argmax(chi2)), int(np.argmin(chi2))} <= set(rows)


def test_classes_are_read_from_the_names_of_groups():
    for group, species, name in (
        ("Fe I abo, band 2 of 8", "Fe I", "abo"), ("other abo, band 1 of 8", "Ti II", "abo"),
        ("agreed", "Fe I", "agreed"),
        ("other, band 3 of 8", "V I", "other"), ("Fe I / lab", "Fe I", "/ lab"),
    ):  # fmt: skip
        assert figures.class_of(group, species) == name


def test_lines_stand_where_the_stars_velocity_puts_them(run):
    row = int(np.argmax(np.abs(run.used["rv"])))
    marks = spectra.line_marks(run, row, (4900.0, 5400.0), 1.0).data
    shift = np.asarray(marks["wavelength_seen"]) / np.asarray(marks["wavelength"]) - 1.0
    np.testing.assert_allclose(shift * 299792.458, run.used["rv"][row], atol=1e-3)
    assert len(shift) > 20


def test_long_spectra_are_cut_where_the_correction_changes_most(run):
    assert len(figures.excerpt(run.spectra, 0, 100).wavelength) == 100
    assert len(figures.excerpt(run.spectra, 0, spectra.MOST_PIXELS).wavelength) == len(run.spectra.wavelength)


def test_names_of_files_cannot_smuggle_markup_into_the_data(tmp_path: Path):
    run = make(tmp_path / "fit", known=False)
    run.stars["path"] = [f"</script><b>{path}" for path in run.stars["path"]]
    made = page.live(run)
    assert "<b>" not in made.script
    assert made.script.count("</script>") == 1
    assert "injected" not in made.figures
    assert not any(name.startswith("label_") for name in made.figures)
    assert len(lines.line_source(run).data["wavelength"]) == len(run.lines)
