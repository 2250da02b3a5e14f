"""The configuration: messages that name the key, and files that say what the code does."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from astrogf import config
from astrogf.base.errors import AstrogfError
from astrogf.commands import reference
from astrogf.emulator.options import TrainOptions
from astrogf.inference.problem.options import FitOptions
from tests.places import ROOT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[survey]\nsnr_mn = 3", ["[survey] snr_mn", "unknown key", "'snr_min'"]),
        ("[survey]\nqqq = 3", ["[survey] qqq", "unknown key", "windows, leave_out, night_sky, anchors, log_step"]),
        ("[lines]\nteff_prior = [1, 2]", ["[lines] teff_prior", "belongs in [stars]"]),
        ("[sruvey]\nsnr_min = 3", ["[sruvey]", "unknown section", "[survey]"]),
        ("snr_min = 3", ["snr_min", "outside any section", "[survey]"]),
        ("[noise]\nspecies_drift = 0.1", ["[noise] species_drift", "0 where line_drift is 0"]),
        ("[model]\nleave_out = [[6570.0, 6560.0]]", ["[model] leave_out", "6570"]),
        ("[survey]\nsnr_min = 'high'", ["[survey] snr_min", "expected a number", "'high'"]),
        ("[survey]\nsnr_min = -1", ["[survey] snr_min", "greater than or equal to 0", "-1"]),
        ("[survey]\nsnr_min = nan", ["[survey] snr_min", "finite"]),
        ("[survey]\nsnr_min = true", ["[survey] snr_min", "expected a number", "True"]),
        ("[survey]\nwindow = [5400, 4900]", ["[survey] window", "smaller number first", "[4900, 5400]"]),
        ("[survey]\nwindow = [5400]", ["[survey] window", "two numbers"]),
        ("[survey]\nkind = 'sdss'", ["[survey] kind", "lamost_lrs", "'sdss'"]),
        ("[stars]\nfeh_prior = [0.0, 0.0]", ["[stars] feh_prior", "sd above 0"]),
        ("[model]\ndepths = 40.5", ["[model] depths", "whole number", "40.5"]),
        ("noise = 3", ["[noise]", "section", "3"]),
        ("[survey]\nsnr_min = 1\nsnr_min = 2", ["not valid TOML"]),
        ("[spectra.sun]\nfile = 'a'", ["[spectra.sun] medium", "missing"]),
        ("[spectra.sun]\nfile = 'a'\nmedium = 'air'\nteff = 3", ["[spectra.sun] teff", "[mean, sd]"]),
        ("[demo]\nstars = 0\n[lines]\nprior_sd = 0", ["[demo] stars", "[lines] prior_sd"]),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(AstrogfError) as caught:
        config.load(path)
    for word in ["my.toml", *words]:
        assert word in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AstrogfError, match="no configuration file"):
        config.load(tmp_path / "none.toml")


def test_partial_file_keeps_the_other_defaults(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("[survey]\nwindow = [5000, 5300]\n[noise]\ninflation = 0.02")
    loaded = config.load(path)
    assert loaded.survey.window == (5000.0, 5300.0)
    assert loaded.noise.inflation == 0.02
    assert loaded.survey.snr_min == config.Config().survey.snr_min


def test_the_page_of_commands_says_what_the_commands_do() -> None:
    """`make reference` writes it from their definitions; the names of options are those that the program takes."""
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert reference.reference().strip() in page
    for name in ("--all", "--list", "--values", "`OVERLAY`", "`korg`", "--overwrite", "--force"):
        assert name in page
    assert "--everything" not in page


def test_shipped_files_say_what_the_code_does() -> None:
    """`make reference` writes the sample from the definitions."""
    assert (ROOT / "configs" / "lamost_lrs.toml").read_text() == config.sample()
    assert config.load(ROOT / "configs" / "lamost_lrs.toml") == config.Config()
    assert config.load(ROOT / "configs" / "demo.toml") == config.demo_config()


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.stem)
def test_every_shipped_file_is_read(path: Path) -> None:
    if path.stem.startswith(("train", "ablate")):
        raw = tomllib.loads(path.read_text())
        raw.pop("variant", None)
        assert TrainOptions(**raw).family
    else:
        assert config.load(path).survey.all_windows


def test_a_configuration_is_what_the_fit_takes() -> None:
    """Every section is defined once, in the room that uses it: what is read from a file needs no translation."""
    parsed = config.parse({"lines": {"max_lines": 7}, "continuum": {"degree": 3}}, "x")
    assert isinstance(parsed, FitOptions)
    assert FitOptions().changed(lines={"max_lines": 7}, continuum={"degree": 3}) == FitOptions(
        **{name: getattr(parsed, name) for name in FitOptions.model_fields}
    )


def test_changed_options_are_checked() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        FitOptions().changed(lines={"prior_sd": -0.1})
    with pytest.raises(ValueError, match="max_linse"):
        FitOptions().changed(lines={"max_linse": 3})
    assert FitOptions().changed(solver={"chunk": 3}).changed(solver={"seed": 4}).solver.chunk == 3


def test_a_mistake_is_found_without_jax() -> None:
    """Help and mistakes in a configuration answer at once."""
    code = "import sys; import astrogf.config; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_page_of_the_configuration_is_current() -> None:
    assert config.reference().strip() in (ROOT / "docs" / "reference" / "configuration.md").read_text()
