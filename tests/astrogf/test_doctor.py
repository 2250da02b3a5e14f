"""`astrogf doctor`: what it finds here, and that it sees what is broken."""

import json
import os
import subprocess
import sys
from collections import namedtuple

import pytest
from typer.testing import CliRunner

from astrogf.cli import app
from astrogf.first_steps import checks
from tests.places import ROOT


def doctor(*arguments: str):
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["doctor", *arguments])


def test_this_installation_works(tmp_path):
    said = doctor("--json", str(tmp_path / "d.json"))
    assert said.exit_code == 0, said.output
    told = json.loads((tmp_path / "d.json").read_text())
    states = {c["name"]: c["state"] for c in told["checks"]}
    assert {"python", "packages", "devices", "threads", "products", "cache", "memory", "disk"} <= set(states)
    assert states["emulators"] == states["line lists"] == states["products"] == "ok"
    assert told["broken"] == 0
    assert told["versions"]["jax"] in said.stdout
    for name in states:
        assert f"  {name}" in said.stdout


def test_wrong_products_are_broken(monkeypatch):
    monkeypatch.setattr(checks, "_product_error", lambda: 1e-3)
    said = doctor()
    assert said.exit_code == 1
    assert "xla_force_host_platform_device_count=1" in said.stdout
    assert "1 broken" in said.stdout


def test_missing_data_are_broken(monkeypatch):
    def gone():
        raise FileNotFoundError("lines_ges.npz")

    monkeypatch.setattr(checks, "_line_lists", gone)
    found = {c.name: c for c in checks.data()}
    assert found["line lists"].state == "broken"
    assert "lines_ges.npz" in found["line lists"].said
    assert found["emulators"].state == "ok"


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (["numpy>=1.0"], None),
        (["numpy<1"], "numpy<1 (found"),
        (["no-such-package>=1"], "not installed"),
        (['no-such-package; extra == "dev"'], None),
    ],
)
def test_packages_are_held_against_what_is_declared(monkeypatch, declared, words):
    monkeypatch.setattr(checks.metadata, "requires", lambda name: declared)
    found = checks.packages()
    assert found.state == ("broken" if words else "ok")
    assert words is None or words in found.advice


@pytest.mark.parametrize(("given", "count", "state"), [("2", 2, "note"), ("4", 2, "ok"), ("", 2, "ok"), ("1", 1, "ok")])
def test_too_few_threads_of_a_faulty_jaxlib(monkeypatch, given, count, state):
    monkeypatch.setenv("NPROC", given)
    monkeypatch.setattr(checks.metadata, "version", lambda name: checks.FAULTY_JAXLIB)
    assert checks.threads(count, "cpu").state == state
    monkeypatch.setattr(checks.metadata, "version", lambda name: "99.0")
    assert checks.threads(count, "cpu").state == "ok"


def test_little_room_and_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: usage(1, 1, 10**8))
    monkeypatch.setattr(checks, "_available", lambda: 10**9)
    monkeypatch.setattr(checks, "use_compilation_cache", lambda: None)
    assert [c.state for c in (checks.disk(), checks.memory(), checks.cache())] == ["note"] * 3
    assert "XDG_CACHE_HOME" in checks.cache().advice


def test_a_limit_of_the_control_group_counts(monkeypatch):
    monkeypatch.setattr(checks, "_limit", lambda: 2 * 10**9)
    found = checks.memory()
    assert found.state == "note"
    assert "of 2.0 GB" in found.said


def test_jax_that_does_not_start_is_broken():
    """In a process of its own, for JAX starts once."""
    code = "from astrogf.first_steps import checks; print([tuple(c) for c in checks.devices()])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"JAX_PLATFORMS": "no_such_platform"}, cwd=ROOT, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert "('devices', 'broken'" in done.stdout
    assert "JAX does not start" in done.stdout
