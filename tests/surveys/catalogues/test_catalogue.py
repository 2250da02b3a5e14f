"""Labels of other people joined to spectra, selection, and the split into stars to fit and stars held out."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from astrogf.surveys.catalogues.catalogue import match_labels, read_labels
from astrogf.surveys.catalogues.labels import FLOORS, recognise, take_labels
from astrogf.surveys.catalogues.split import draw, held_out, read_split, split, write_split
from astrogf.surveys.directory.load import group_stars, load_directory
from astrogf.surveys.spectrum import SurveyError
from astrogf.surveys.store.criteria import Criteria


def stars(n=6):
    """Rows as a batch has them."""
    return Table(
        {
            "path": [f"p/{i}.fits" for i in range(n)],
            "object": [f"2M0000{i:04d}+0100000" for i in range(n)],
            "obsid": [str(100 + i) for i in range(n)],
            "plan": ["266"] * n,
            "mjd": np.full(n, 51630),
            "fiber": np.arange(n) + 1,
            "ra": 10.0 + np.arange(n),
            "dec": np.full(n, 1.0),
            "snr": 10.0 * np.arange(n),
            "class": ["STAR"] * (n - 2) + ["GALAXY", ""],
            "survey": ["x"] * n,
            "release": ["DR1"] * (n - 1) + ["DR2"],
            "good_fraction": np.linspace(0.5, 1, n),
            "star": [f"s{i // 2}" for i in range(n)],
        }
    )


def aspcap(path):
    """A table as APOGEE's allStar DR17 is: names, upper case, arrays in it, -9999, flags, duplicates."""
    n = 7
    star_bad = 1 << 23
    columns = [
        fits.Column("APOGEE_ID", "18A", array=[f"2M0000{i:04d}+0100000" for i in (5, 4, 3, 2, 1, 0, 0)]),
        fits.Column("RA", "D", array=10.0 + np.array([5, 4, 3, 2, 1, 0, 0])),
        fits.Column("DEC", "D", array=np.ones(n)),
        fits.Column("TEFF", "E", array=[5500, 5400, 5300, -9999, np.nan, 5000, 4000]),
        fits.Column("TEFF_ERR", "E", array=[10, 20, -9999, 40, 50, 60, 70]),
        fits.Column("LOGG", "E", array=[4.5, 4.4, 4.3, 4.2, 4.1, 4.0, 3.0]),
        fits.Column("LOGG_ERR", "E", array=np.full(n, 0.02)),
        fits.Column("FE_H", "E", array=np.linspace(-1, 0, n)),
        fits.Column("FE_H_ERR", "E", array=np.full(n, 0.01)),
        fits.Column("VHELIO_AVG", "E", array=np.full(n, -20.0)),
        fits.Column("ASPCAPFLAG", "K", array=[0, star_bad, 0, 0, 0, 0, 0]),
        fits.Column("EXTRATARG", "J", array=[0, 0, 0, 0, 0, 0, 16]),
        fits.Column("PARAM", "9E", array=np.zeros((n, 9))),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)
    return path


def test_aspcap_by_apogee_id(tmp_path):
    table = read_labels(aspcap(tmp_path / "allStar-dr17-synspec_rev1.fits"))
    assert "param" not in table.colnames
    assert recognise(table) == "ASPCAP"
    labels = take_labels(stars(), table, "prior")
    assert (labels.use, labels.table) == ("prior", "ASPCAP")
    assert set(labels.values["matched_by"]) == {"name"}
    # -9999, NaN and STAR_BAD are no labels; the row that APOGEE marks as a duplicate is passed over
    np.testing.assert_array_equal(labels.values["teff"], [5000, np.nan, np.nan, 5300, np.nan, 5500])
    np.testing.assert_array_equal(labels.values["rv"], np.full(6, -20.0))
    mean, sd = labels.priors()["teff"]
    np.testing.assert_allclose(sd, [np.hypot(60, 50), np.inf, np.inf, FLOORS["teff"], np.inf, np.hypot(10, 50)])
    assert np.isfinite(mean).all()
    assert labels.priors({"teff": 200.0})["teff"][1][3] == 200.0
    # the same file gzipped, and the position when the names are others
    other = stars()
    other["object"] = "x"
    assert set(take_labels(other, table).values["matched_by"]) == {"position"}


def test_labels_for_comparison_give_no_priors(tmp_path):
    labels = take_labels(stars(), read_labels(aspcap(tmp_path / "a.fits")))
    assert labels.use == "comparison"
    with pytest.raises(SurveyError, match="for comparison only"):
        labels.priors()
    with pytest.raises(SurveyError, match="'prior' or for 'comparison'"):
        take_labels(stars(), Table({"obsid": ["1"], "teff": [5000.0]}), "both")


def test_sspp_of_files_and_of_casjobs(tmp_path):
    files = Table({"PLATE": [266, 266], "MJD": [51630, 51630], "FIBER": [3, 1]})
    files["TEFF_ADOP"], files["TEFF_ADOP_UNC"] = [5000.0, -9999.0], [60.0, -9999.0]
    files["LOGG_ADOP"], files["FEH_ADOP"] = [4.0, 4.1], [-1.0, -9999.0]
    files.write(tmp_path / "ssppOut.fits")
    labels = take_labels(stars(), read_labels(tmp_path / "ssppOut.fits"))
    assert labels.table == "SSPP"
    assert labels.values["matched_by"].tolist() == ["plate", "", "plate", "", "", ""]
    np.testing.assert_array_equal(labels.values["teff"], [np.nan, np.nan, 5000, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(labels.values["logg"][:3], [4.1, np.nan, 4.0])
    jobs = Table({"plate": [266], "mjd": [51630], "fiberid": [2], "teffadop": [5100.0], "teffadopunc": [50.0]})
    jobs.write(tmp_path / "jobs.csv")
    labels = take_labels(stars(), read_labels(tmp_path / "jobs.csv"))
    assert labels.table == "SSPP"
    assert (labels.values["teff"][1], labels.values["teff_sd"][1]) == (5100.0, 50.0)


def test_benchmark_stars_by_hip_number_as_vizier_writes_them(tmp_path):
    # HD 22879 = HIP 17147 and HIP 37826 = Pollux; labels of Jofre et al. (2014), table 3
    benchmark = Table({"HIP": [17147, 37826], "Teff": [5868.0, 4858.0], "e_Teff": [89.0, 60.0]})
    benchmark["logg"], benchmark["__Fe_H_"], benchmark["e__Fe_H_"] = [4.27, 2.90], [-0.86, 0.13], [0.05, 0.16]
    benchmark["_RA"], benchmark["_DE"] = [55.0920, 116.3290], [-3.2170, 28.0262]
    benchmark.write(tmp_path / "gbs.vot", format="votable")
    table = read_labels(tmp_path / "gbs.vot")
    assert recognise(table) == "benchmark"
    sky = Table({"object": ["HIP 37826", "hip17147", "Pollux", "HIP 17147"]})
    sky["ra"], sky["dec"] = [116.3290, 55.0920, 116.3290, 200.0], [28.0262, -3.2170, 28.0262, 0.0]
    values = take_labels(sky, table).values
    # the last has the name of a star at another place
    assert values["matched_by"].tolist() == ["name", "name", "position", ""]
    np.testing.assert_array_equal(values["teff"], [4858, 5868, 4858, np.nan])
    np.testing.assert_array_equal(values["feh_sd"][:2], [0.16, 0.05])


def test_units_are_converted_and_wrong_ones_refused(tmp_path):
    user = Table({"path": ["p/1.fits"], "teff": [5.8], "feh": [-0.1], "rv": [2000.0], "rv_err": [500.0]})
    user["teff"].unit, user["rv"].unit, user["rv_err"].unit = "kK", "m/s", "m/s"
    user.write(tmp_path / "mine.ecsv")
    values = take_labels(stars(), read_labels(tmp_path / "mine.ecsv")).values
    assert values["teff"][1] == pytest.approx(5800)
    assert (values["rv"][1], values["rv_sd"][1]) == (2.0, 0.5)
    user["teff"].unit = "m"
    with pytest.raises(SurveyError, match=r"column teff is in m, .*correct its unit"):
        take_labels(stars(), user)
    with pytest.raises(SurveyError, match="none of the columns"):
        take_labels(stars(), Table({"path": ["p/1.fits"], "colour": [1.0]}))


def test_lasp_labels_of_the_real_files(shared):
    (batch,) = load_directory(shared / "spectra" / "lamost_lrs", [(4900.0, 5400.0)]).batches
    index = read_labels(shared / "spectra" / "index.csv")
    labels = take_labels(batch.table, index)
    assert labels.table == "LASP"
    plain = match_labels(batch.table, index)
    known = ~plain["lasp_teff"].mask
    assert known.sum() > 40
    np.testing.assert_array_equal(labels.values["teff"][known], plain["lasp_teff"][known])
    assert np.isnan(labels.values["teff"][~known]).all()


def test_criteria_on_quality_and_labels():
    table = stars()
    labels = Table({"teff": [5000.0, 6000.0, np.nan, 5500.0, 5200.0, 5300.0]})
    wanted = Criteria(snr=(10, 40), ranges={"teff": (5000, 6000)})
    assert wanted(table, labels).tolist() == [False, True, False, True, False, False]
    assert wanted.why_not(table, labels).tolist() == ["snr", "", "teff", "", "class", "snr"]
    assert wanted.counts(table, labels) == {"": 2, "snr": 2, "teff": 1, "class": 1}
    assert Criteria(classes=None)(table).all()
    assert Criteria(releases=("dr2",))(table).tolist() == [False] * 5 + [True]
    assert Criteria(min_good_fraction=0.75, classes=None)(table).sum() == 3
    with pytest.raises(SurveyError, match="no column 'logg'"):
        Criteria(ranges={"logg": (1, 2)})(table, labels)
    with pytest.raises(SurveyError, match="holds nothing"):
        Criteria(snr=(5, 1))
    with pytest.raises(SurveyError, match="match them first"):
        Criteria(ranges={"teff": (1, 2)})(table, labels[:2])


def test_criteria_in_the_sky_against_the_law_of_cosines():
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 2000), np.degrees(np.arcsin(rng.uniform(-1, 1, 2000)))
    table = Table({"ra": np.append(ra, np.nan), "dec": np.append(dec, np.nan)})
    a0, d0, radius = 2.0, 70.0, 15.0
    r, d = np.radians(ra - a0), np.radians(dec)
    cosine = np.sin(d) * np.sin(np.radians(d0)) + np.cos(d) * np.cos(np.radians(d0)) * np.cos(r)
    cone = Criteria(classes=None, cone=(a0, d0, radius))(table)
    assert cone[:-1].tolist() == (cosine >= np.cos(np.radians(radius))).tolist()
    assert not cone[-1]
    assert 0 < cone.sum() < 200
    # the box through 0 is what two boxes are
    through = Criteria(classes=None, box=(350, 20, -30, 40))(table)
    parts = [Criteria(classes=None, box=b)(table) for b in ((350, 360, -30, 40), (0, 20, -30, 40))]
    assert through.tolist() == (parts[0] | parts[1]).tolist()
    with pytest.raises(SurveyError, match="declinations rise"):
        Criteria(box=(0, 10, 20, 10))
    with pytest.raises(SurveyError, match="radius"):
        Criteria(cone=(0, 0, 0))


def many(n, seed=0):
    """n stars, every third with two spectra."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 360, n), rng.uniform(-60, 60, n)
    twice = np.sort(np.concatenate((np.arange(n), np.arange(0, n, 3))))
    table = Table({"ra": ra[twice], "dec": dec[twice], "path": [f"{i:05d}" for i in range(len(twice))]})
    table["star"] = group_stars(table["ra"], table["dec"], table["path"])
    return table


def test_split_is_by_star_seeded_and_of_the_right_size():
    table = many(3000)
    recorded = split(table, 0.2, 7)
    assert len(recorded) == 3000
    # binomial: sd 22
    assert recorded["held_out"].sum() == pytest.approx(600, abs=90)
    sides = held_out(table, recorded)
    for star in set(table["star"][:300]):
        assert len(set(sides[table["star"] == star])) == 1
    assert split(table, 0.2, 7)["held_out"].tolist() == recorded["held_out"].tolist()
    other = split(table, 0.2, 8)["held_out"]
    # two independent draws agree in 0.2^2 + 0.8^2
    assert (other == recorded["held_out"]).mean() == pytest.approx(0.68, abs=0.05)
    assert np.all(split(table, 0.4, 7)["held_out"][recorded["held_out"]])
    assert split(table, 0.0, 7)["held_out"].sum() == 0
    assert split(table, 1.0, 7)["held_out"].all()
    assert draw("J010.0000+01.0000", 7) == draw("J010.0000+01.0000", 7) != draw("J010.0000+01.0000", 8)


def test_added_files_leave_every_star_on_its_side():
    table = many(500)
    recorded = split(table, 0.3, 1)
    sides = dict(zip(recorded["star"], recorded["held_out"], strict=True))
    order = np.random.default_rng(1).permutation(len(table))
    more = split(table[order][:400], 0.3, 1)  # fewer and in another order
    assert all(sides[row["star"]] == row["held_out"] for row in more)
    # a new first spectrum, half an arcsecond off, gives every star another name
    moved = table.copy()
    moved["dec"] += 0.5 / 3600
    moved["path"] = [f"0{p}" for p in table["path"]]
    moved["star"] = group_stars(moved["ra"], moved["dec"], moved["path"])
    assert not set(moved["star"]) & set(table["star"])
    again = split(moved, 0.3, 1, before=recorded)
    position = SkyCoord(again["ra"], again["dec"])
    at = position.match_to_catalog_sky(SkyCoord(recorded["ra"], recorded["dec"]))[0]
    assert np.array_equal(again["held_out"], recorded["held_out"][at])
    assert not np.array_equal(split(moved, 0.3, 1)["held_out"], recorded["held_out"][at])


def test_split_is_recorded(tmp_path):
    table = many(50)
    recorded = split(table, 0.3, 1)
    write_split(recorded, tmp_path / "split.ecsv")
    back = read_split(tmp_path / "split.ecsv")
    assert back["held_out"].tolist() == recorded["held_out"].tolist()
    assert back["draw"].tolist() == recorded["draw"].tolist()
    assert (back.meta["seed"], back.meta["fraction"]) == (1, 0.3)
    assert np.array_equal(held_out(table, back), held_out(table, recorded))
    with pytest.raises(SurveyError, match="seed 1 and fraction"):
        split(table, 0.3, 2, before=back)
    with pytest.raises(SurveyError, match="does not know"):
        held_out(many(50, seed=9), back)
    with pytest.raises(SurveyError, match="must lie in 0 to 1"):
        split(table, 1.5, 1)
    (tmp_path / "no.ecsv").write_text("nothing")
    with pytest.raises(SurveyError, match="split"):
        read_split(tmp_path / "no.ecsv")
