"""Which kind of spectrum is taken where a folder holds several of one star: the one asked for, the others reported."""

from typing import get_args

import numpy as np
import pytest

from astrogf import config
from astrogf.base.constants import C_KMS
from astrogf.base.errors import AstrogfError
from astrogf.fitting import engine
from astrogf.surveys.directory.load import load_directory
from astrogf.surveys.formats import readers
from astrogf.surveys.options import Kind
from astrogf.surveys.simulate import (
    observe,
    visit_wavelengths,
    write_apogee_aspcapstar,
    write_apogee_star,
    write_apogee_visit,
    write_lamost_mrs,
)
from astrogf.surveys.spectrum import SurveyError, SurveySpectrum, grid
from astrogf.surveys.store.fill import ingest
from astrogf.surveys.store.load import load_store
from astrogf.surveys.store.store import GRIDS

WINDOW = (16000.0, 16300.0)
LINE, RV, BC = 16150.0, 60.0, -12.0
PLACE = {"ra": 120.0, "dec": 20.0}
APOGEE = {"apogee_apstar": "star.fits", "apogee_aspcapstar": "aspcap.fits", "apogee_apvisit": "visit.fits"}


def line(wavelength):
    """A spectrum of level 1 with one line at rest, 12 km/s wide."""
    return 1.0 - 0.5 * np.exp(-0.5 * ((wavelength / LINE - 1.0) * C_KMS / 12.0) ** 2)


@pytest.fixture(scope="module")
def one_star(tmp_path_factory):
    """apStar, aspcapStar and apVisit of one star in one folder, and a LAMOST MRS file beside them."""
    folder, rng = tmp_path_factory.mktemp("star"), np.random.default_rng(1)
    rest = observe(line(grid(696500, 8575, 6e-6)), 500.0, rng, bad_fraction=0.0)
    write_apogee_star(folder / "star.fits", 696500, 1000 * rest.flux, rest.ivar / 1e6, **PLACE, rv=RV)
    write_apogee_aspcapstar(folder / "aspcap.fits", 696500, rest.flux, rest.ivar, **PLACE, rv=RV)
    seen = line(visit_wavelengths() / (1.0 + (RV - BC) / C_KMS))
    noise = 0.002 * rng.standard_normal(seen.shape)
    write_apogee_visit(folder / "visit.fits", 100 * (seen + noise), np.full_like(seen, 25.0), **PLACE, bc=BC, rv=RV)
    arms = {"blue": (369100, np.ones(3000), np.full(3000, 1e4)), "red": (380000, np.ones(3500), np.full(3500, 1e4))}
    write_lamost_mrs(folder / "med.fits", arms, **PLACE)
    return folder


def velocity(batch):
    """Where the line of the batch's one spectrum lies, km/s, by its centroid."""
    v = (batch.wavelength / LINE - 1.0) * C_KMS
    depth = np.where(batch.ivar[0] > 0, 1.0 - batch.flux[0] / np.median(batch.flux[0]), 0.0)
    near = np.abs(v - v[np.argmax(depth)]) < 50.0
    return np.sum((depth * v)[near]) / np.sum(depth[near])


@pytest.mark.parametrize(("kind", "frame", "rv"), [
    ("apogee_apstar", "rest", 0.0), ("apogee_aspcapstar", "rest", 0.0), ("apogee_apvisit", "heliocentric", RV),
])  # fmt: skip
def test_one_apogee_kind_is_taken_in_its_frame_and_the_others_are_set_aside(one_star, kind, frame, rv):
    found = load_directory(one_star, [WINDOW], kinds=[kind])
    (batch,) = found.batches
    assert list(batch.table["path"]) == [APOGEE[kind]]
    assert list(batch.table["frame"]) == [frame]
    assert velocity(batch) == pytest.approx(rv, abs=0.4)  # 0.1 pixel
    assert sorted(found.set_aside["path"]) == sorted({*APOGEE.values(), "med.fits"} - {APOGEE[kind]})
    assert set(found.set_aside["reason"]) == {"kind"}
    for path, sentence in found.set_aside["path", "detail"].iterrows():
        held = next((k for k, name in APOGEE.items() if name == path), "lamost_mrs_blue")
        assert held in sentence
        assert kind in sentence


def test_the_three_are_of_one_star_and_the_header_tells_the_same_velocity(one_star):
    batches = load_directory(one_star, [WINDOW]).batches
    assert [batch.table["kind"][0] for batch in batches] == list(APOGEE)
    assert len({batch.table["star"][0] for batch in batches}) == 1
    assert {float(batch.table["rv_header"][0]) for batch in batches} == {RV}


@pytest.mark.parametrize("bit", [16, 18])
def test_a_coadd_whose_frame_apogee_doubts_is_set_aside(tmp_path, bit):
    """From the files and from a store alike; other flags (17: broad lines) are the fit's to judge."""
    flux, ivar = 1000 * line(grid(696500, 8575, 6e-6)), np.full(8575, 0.01)
    for name, flag in (("good", 1 << 17), ("bad", 1 << 17 | 1 << bit)):
        write_apogee_star(tmp_path / f"{name}.fits", 696500, flux, ivar, **PLACE, rv=RV, visits=3, starflag=flag)
    ingest(tmp_path, tmp_path / "store", "apogee_apstar")
    for found in (
        load_directory(tmp_path, [WINDOW], kinds=["apogee_apstar"])[:2],
        load_store(tmp_path / "store", [WINDOW], kinds=["apogee_apstar"])[:2],
    ):
        (batch,), aside = found
        assert list(batch.table["path"]) == ["good.fits"]
        assert list(aside["reason"]) == ["frame"]
        assert "RV_COMBINATION" in aside["detail"][0]


def test_the_arms_of_mrs_are_asked_for_together_or_alone(one_star):
    windows = [(5000.0, 5100.0), (6400.0, 6500.0)]
    both = load_directory(one_star, windows, kinds=["lamost_mrs"]).batches
    assert [batch.table["piece"][0] for batch in both] == ["blue", "red"]
    (red,) = load_directory(one_star, windows, kinds=["lamost_mrs_red"]).batches
    assert red.table["piece"][0] == "red"


def test_an_arm_that_is_refused_is_reported_though_the_other_is_used(tmp_path):
    windows = [(5000.0, 5100.0), (6400.0, 6500.0)]
    bad = np.where(np.arange(3500) % 3, 1e4, 0.0)
    arms = {"blue": (369100, np.ones(3000), np.full(3000, 1e4)), "red": (380000, np.ones(3500), bad)}
    write_lamost_mrs(tmp_path / "med.fits", arms, **PLACE)
    ingest(tmp_path, tmp_path / "store", "lamost_mrs_red")
    found = load_directory(tmp_path, windows, kinds=["lamost_mrs"])
    assert [batch.table["piece"][0] for batch in found.batches] == ["blue"]
    assert len(found.set_aside) == 0
    (row,) = found.partly
    assert (row["piece"], row["start"], row["stop"], row["reason"]) == ("red", 6400.0, 6500.0, "few_good_pixels")
    stored = load_store(tmp_path / "store", windows, kinds=["lamost_mrs_red"])
    assert list(stored.set_aside["reason"]) == ["few_good_pixels"]
    assert len(stored.partly) == 0


def test_a_folder_without_the_kind_is_refused(one_star):
    with pytest.raises(SurveyError, match=r"None of the 4 files .* sdss_optical. The first: .*apogee_aspcapstar"):
        load_directory(one_star, [WINDOW], kinds=["sdss_optical"])


def test_a_store_of_another_kind_is_refused(one_star, tmp_path):
    ingest(one_star, tmp_path / "s", "apogee_apvisit")
    (batch,), aside, _ = load_store(tmp_path / "s", [WINDOW], kinds=["apogee_apvisit"])
    assert list(batch.table["path"]) == ["visit.fits"]
    assert sorted(aside["reason"]) == ["kind"] * 3
    with pytest.raises(SurveyError, match="is a store of apogee_apvisit; apogee_apstar was asked for"):
        load_store(tmp_path / "s", [WINDOW], kinds=["apogee_apstar"])


def test_the_configuration_takes_every_kind_and_nothing_wider(one_star):
    assert set(get_args(Kind)) == {*readers.KINDS, *readers.ARMS, "stated"}
    assert set(GRIDS) == set(readers.KINDS)
    with pytest.raises(AstrogfError, match=r"\[survey\] kind: expected .*'apogee_apstar', .*got 'apogee'"):
        config.parse({"survey": {"kind": "apogee"}}, "my.toml")
    asked = config.parse({"survey": {"kind": "apogee_apstar", "window": list(WINDOW)}}, "my.toml")
    loaded = engine.load(asked, one_star, lambda *_: None)
    assert [list(batch.table["path"]) for batch in loaded.batches] == [["star.fits"]]
    assert len(loaded.set_aside) == 3


def made_up(meta: dict, kind: str = "sdss_optical") -> readers.TextLayout:
    """A survey in text: a first line that names it, then flux and ivar of the pixels from 37000 on."""

    def read(plain, path, sha256, exposures):
        flux, ivar = np.loadtxt(plain.decode().splitlines()[1:]).T
        nothing = np.zeros(len(flux), int)
        about = {"sha256": sha256, "snr_header": 50.0, "snr_header_key": "made up"} | meta
        return [SurveySpectrum(37000, flux, ivar, nothing, nothing, about, kind=kind)]

    return readers.TextLayout("made up", lambda head: head.startswith(b"# MADE UP"), read)


def test_a_survey_in_text_is_found_and_read(tmp_path, monkeypatch):
    """One entry of TEXT is enough; other text beside it is passed over."""
    rng = np.random.default_rng(4)
    rows = np.column_stack([100.0 + rng.normal(size=400), np.ones(400)])
    np.savetxt(tmp_path / "one.txt", rows, header="MADE UP v1")
    (tmp_path / "notes.txt").write_text("weather was fine\n")
    monkeypatch.setattr(readers, "TEXT", (made_up({"ra": 1.0, "dec": 2.0}),))
    (batch,), aside, _ = load_directory(tmp_path, [(5020.0, 5400.0)], kinds=["sdss_optical"])
    assert list(batch.table["path"]) == ["one.txt"]
    assert len(aside) == 0
    np.testing.assert_allclose(batch.flux[0], rows[np.searchsorted(grid(37000, 400), batch.wavelength[0]) :, 0][
        : batch.flux.shape[1]], rtol=1e-6)  # fmt: skip
    assert "notes.txt" not in {str(p) for p in aside["path"]}


@pytest.mark.parametrize(("meta", "kind"), [({"ra": 1.0}, "sdss_optical"), ({"ra": 1.0, "dec": 2.0}, "made_up")])
def test_a_reader_that_breaks_its_contract_costs_its_file_alone(tmp_path, monkeypatch, meta, kind):
    np.savetxt(tmp_path / "one.txt", np.ones((400, 2)), header="MADE UP v1")
    monkeypatch.setattr(readers, "TEXT", (made_up(meta, kind),))
    with pytest.raises(SurveyError, match=r"no dec in its meta|kind 'made_up'"):
        readers.read(tmp_path / "one.txt")
