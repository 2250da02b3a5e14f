"""What a process is told of compiling: programs are kept, and what the user said stands; memory is given back."""

import ctypes
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

SAID = "import os, astrogf; astrogf.LineList; import jax; "
SHOW = "print(jax.config.jax_compilation_cache_dir); print(os.environ.get('XLA_FLAGS', ''))"


def told(code: str, tmp_path: Path, **environment: str) -> tuple[str, str]:
    """Where programs are kept and the flags of XLA, in a process of its own."""
    rest = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    run = subprocess.run(
        [sys.executable, "-c", code], env={**rest, "XDG_CACHE_HOME": str(tmp_path), **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    folder, flags = run.stdout.splitlines()
    return folder, flags


def test_the_names_for_python_keep_their_programs(tmp_path: Path) -> None:
    folder, flags = told(SAID + SHOW, tmp_path)
    assert folder == str(tmp_path / "astrogf" / "jax")
    assert "--xla_backend_optimization_level=2" in flags
    # the number of devices is the affair of whoever computes
    assert "device_count" not in flags


def test_what_the_user_said_stands(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    _, flags = told(SAID + SHOW, tmp_path, XLA_FLAGS="--xla_backend_optimization_level=1")
    assert flags.count("optimization_level") == 1
    assert "--xla_backend_optimization_level=1" in flags
    assert told(SAID + SHOW, tmp_path, JAX_COMPILATION_CACHE_DIR=str(mine))[0] == str(mine)
    before = f"import jax; jax.config.update('jax_compilation_cache_dir', {str(mine)!r}); "
    assert told(before + SAID + SHOW, tmp_path)[0] == str(mine)


def test_products_in_single_precision_are_not_rounded_on_gpus(tmp_path: Path) -> None:
    show = "print(jax.config.jax_default_matmul_precision); print(jax.config.jax_use_shardy_partitioner)"
    said, partitioner = told(SAID + show, tmp_path)
    assert said == "highest"
    # the new partitioner of 0.11 ends the process where stars are spread over devices
    assert partitioner == str(not version("jaxlib").startswith("0.11."))
    assert told("import jax; " + SAID + show, tmp_path)[0] == "highest"
    assert told(SAID + show, tmp_path, JAX_DEFAULT_MATMUL_PRECISION="tensorfloat32")[0] == "tensorfloat32"


def test_a_command_takes_all_cores(tmp_path: Path) -> None:
    code = "import os; from astrogf.runtime import ready_to_compute; ready_to_compute(); import jax; "
    run = code + SHOW + "; assert jax.device_count() == len(os.sched_getaffinity(0))"
    assert "device_count" in told(run, tmp_path)[1]


LEFT_BEHIND = """
from pathlib import Path
import numpy as np
from astrogf.runtime import return_memory

def resident():
    said = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(said["VmRSS"].split()[0]) // 1024

before = resident()
blocks = [np.ones(4000) for _ in range(6000)]
last = np.ones(4000)
full = resident()
del blocks
kept = resident()
return_memory()
print(before, full, kept, resident(), int(last.sum()))
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc"
)
def test_memory_that_the_c_library_keeps_is_given_back() -> None:
    """Blocks that are too small for maps of their own, and one above them that lives on, as reading leaves them; in a
    process of its own, which has no free memory to put them into."""
    done = subprocess.run([sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True, check=True)
    before, full, kept, after, last = map(int, done.stdout.split())
    assert full > before + 150
    assert after < kept - 100
    assert last == 4000
