"""`astrogf init`: a configuration that is read, says every key, and differs from the defaults only where it says so."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from astrogf import config
from astrogf.cli import app
from astrogf.first_steps import configuration
from astrogf.first_steps.kinds import Kind
from tests.places import ROOT


def init(*arguments: str | Path):
    return CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"}).invoke(app, ["init", *map(str, arguments)])


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_is_read_back(tmp_path, kind):
    """Every key of a fit once, the values of the preset, the defaults for the rest, and which are not defaults."""
    out = tmp_path / "my.toml"
    said = init(kind, "--out", out)
    assert said.exit_code == 0, said.output
    assert str(out) in said.stdout
    loaded = config.load(out)
    expected = config.Config().changed(**configuration.PRESETS[kind])
    assert loaded.model_dump(exclude={"spectra"}) == expected.model_dump(exclude={"spectra"})
    text = out.read_text()
    for name in config.SECTIONS:
        if name == "demo":
            continue
        keys = type(getattr(expected, name)).model_fields
        section = text.split(f"\n[{name}]\n")[1].split("\n[")[0]
        assert [re.sub("^# ", "", row).split(" =")[0] for row in section.strip().splitlines()[1:]] == list(keys)
    marked = text.count("(default: ")
    assert marked == sum(len(keys) for keys in configuration.PRESETS[kind].values())


def test_no_kind_is_lamost_whose_values_are_the_defaults(tmp_path):
    init("--out", tmp_path / "a.toml")
    assert config.load(tmp_path / "a.toml") == config.Config()
    body = (tmp_path / "a.toml").read_text().split("\n\n", 1)[1]
    assert body == (ROOT / "configs" / "lamost_lrs.toml").read_text().split("\n\n", 1)[1]


def test_presets_hold_no_default():
    """A value that is the default is no change, and would be marked as one."""
    for kind, sections in configuration.PRESETS.items():
        for name, values in sections.items():
            default = config.Config.model_fields[name].default
            assert not {k for k, v in values.items() if getattr(default, k) == v}, (kind, name)
    assert set(configuration.PRESETS) == set(configuration.TITLES) == set(Kind)


def test_a_stated_spectrum_stands_there_as_an_example(tmp_path):
    init("stated", "--out", tmp_path / "a.toml")
    sun = config.load(tmp_path / "a.toml").spectra["sun"]
    assert sun.teff == (5772.0, 2.0)
    text = (tmp_path / "a.toml").read_text()
    for key in config.Stated.model_fields:
        assert re.search(rf"^(# )?{key} =", text.split("[spectra.sun]")[1], re.MULTILINE), key


def test_a_file_that_is_there_stays(tmp_path):
    out = tmp_path / "my.toml"
    out.write_text("mine")
    said = init("sdss", "--out", out)
    assert said.exit_code == 2
    assert "--overwrite" in said.stderr
    assert out.read_text() == "mine"
    for flag in ("--force", "--overwrite"):
        assert init("sdss", "--out", out, flag).exit_code == 0
    assert tomllib.loads(out.read_text())["survey"]["kind"] == "sdss_optical"


def test_json_and_unknown_kinds(tmp_path):
    said = init("apogee", "--out", tmp_path / "a.toml", "--json", "-")
    assert json.loads(said.stdout)["not_default"]["stars"]["resolution"] == 22500.0
    wrong = init("apoge", "--out", tmp_path / "b.toml")
    assert wrong.exit_code == 2
    assert "lamost_mrs" in wrong.stderr
    assert not (tmp_path / "b.toml").exists()
