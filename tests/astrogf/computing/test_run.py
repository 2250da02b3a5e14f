"""A run with workers, from the command line: the numbers of a run without, killed on the way and gone on with too."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.killed import CONFIG, SIMULATE, differences

HERE = CONFIG.replace("[solver]\n", "[solver]\nblock = 2\n")
WORKERS = f'{HERE}\n[compute]\nwhere = "processes"\nworkers = 2\n'


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the run must be held to one core, as workers are")
def test_two_processes_and_a_run_that_was_killed_end_as_one(tmp_path: Path) -> None:
    for name, text in (("here", HERE), ("workers", WORKERS)):
        (tmp_path / f"{name}.toml").write_text(text)
    spectra = str(tmp_path / "spectra")
    # what the tests' own process told JAX of all cores
    clean = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "NPROC")}
    subprocess.run([sys.executable, "-c", SIMULATE, tmp_path / "here.toml", spectra], check=True)

    def begin(config: str, out: str, cores: int, *more: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "astrogf", "fit", str(tmp_path / f"{config}.toml"), "--spectra", spectra]
        mine = sorted(os.sched_getaffinity(0))[:cores]
        return subprocess.Popen(
            [*command, "--out", str(tmp_path / out), *more], stdout=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, mine), env=clean,
        )  # fmt: skip

    assert begin("here", "one", 1).wait() == 0
    assert begin("workers", "two", 2).wait() == 0
    assert set(differences(tmp_path / "one", tmp_path / "two").values()) == {0.0}

    killed = begin("workers", "three", 2)
    kept = tmp_path / "three" / "checkpoint"
    while not (kept / "joint.npz").exists():
        assert killed.poll() is None
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert begin("here", "three", 1, "--resume").wait() == 0
    assert set(differences(tmp_path / "one", tmp_path / "three").values()) == {0.0}
    assert not kept.exists()
