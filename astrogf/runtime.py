"""The process a run happens in: where compiled programs are kept, how much memory was used, where and with what."""

import ctypes
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import FrameType

from astrogf.base.kept import cache_folder

PACKAGES = ("jax", "jaxlib", "equinox", "optax", "numpyro", "numpy", "scipy", "astropy", "matplotlib", "bokeh")


def use_compilation_cache() -> Path | None:
    """Keep JAX's compiled programs between runs; the folder, or None where it cannot be written.

    The folder is the one that JAX was given, JAX_COMPILATION_CACHE_DIR if set, else astrogf/jax below XDG_CACHE_HOME or
    ~/.cache. It is named in the environment, so that this costs nothing when no computation follows.
    """
    if "jax" in sys.modules:
        import jax

        given = getattr(jax.config, "jax_compilation_cache_dir", None)
        if given:
            return Path(given)
    named = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = Path(named) if named else cache_folder() / "jax"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # small programs too: there are hundreds of them, each quicker to read than to compile
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_compilation_cache_dir", str(folder))
        least = float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    return folder


THREADS_A_CORE = 2
"""As many threads as cores made XLA lose parts of products, one and a half times as many did not."""

FLAGS = {"xla_cpu_prefer_vector_width": "512", "xla_backend_optimization_level": "2"}
"""Of XLA: the widest vectors; level 2 of optimisation compiles in a quarter less time than 3, programs are as fast."""

TRIED = "0.10."
FLAGS_OF_TRIED = {"xla_cpu_use_fusion_emitters": "false"}
"""Of the releases of jaxlib with which it was tried, since a flag that XLA does not know ends the process: code
through LLVM alone compiles in a third less time than through MLIR, and is as fast here."""


SETTINGS: dict[str, str | bool] = {"jax_default_matmul_precision": "highest"}
"""Of JAX: else GPUs round the factors of products in single precision to 11 bits (TF32)."""

CRASHING = "0.11."
SETTINGS_OF_CRASHING: dict[str, str | bool] = {"jax_use_shardy_partitioner": False}
"""Of the releases of jaxlib whose new partitioner ends the process where stars are spread over devices."""


def set_up_xla(**more: str) -> None:
    """Let XLA compile as `FLAGS` and `more` say, and JAX be as `SETTINGS` say.

    Flags have effect only before JAX first computes. What the user set, in XLA_FLAGS or in a variable of JAX, is left
    alone.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    wanted, settings = FLAGS | more, dict(SETTINGS)
    jaxlib = metadata.version("jaxlib")
    if jaxlib.startswith(TRIED):
        wanted |= FLAGS_OF_TRIED
    if jaxlib.startswith(CRASHING):
        settings |= SETTINGS_OF_CRASHING
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its old partitioner warns in the midst of progress bars
    for name, value in wanted.items():
        if name not in flags:
            flags += f" --{name}={value}"
    os.environ["XLA_FLAGS"] = flags.strip()
    for name, setting in settings.items():
        if name.upper() not in os.environ:
            os.environ[name.upper()] = str(setting)
            if "jax" in sys.modules:
                import jax

                jax.config.update(name, setting)


def own_cores() -> list[int]:
    """Numbers of the CPU cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def use_all_cores(cores: int | None = None) -> None:
    """Let JAX see every CPU core (or so many) as a device, so that stars are spread over them, and `set_up_xla`.

    XLA is given more threads than devices (NPROC): with as many, jaxlib 0.10.2 was seen to lose part of the product of
    large matrices (docs/how-to/problems.md, 'When the runtime is wrong').
    """
    cores = len(own_cores()) if cores is None else cores
    set_up_xla(xla_force_host_platform_device_count=str(cores))
    os.environ.setdefault("NPROC", str(THREADS_A_CORE * cores))


class Stopped(KeyboardInterrupt):
    """Somebody or something ended the process: Ctrl-C, `kill`, a queue at its time limit, a closed terminal."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {self.signal}")

    @property
    def signal(self) -> str:
        """Its name, such as SIGTERM."""
        return signal.Signals(self.number).name

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that a signal ended: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + self.number


STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_last: list[Stopped] = []


@contextmanager
def stoppable() -> Iterator[None]:
    """Within, the signals of `STOPPING` raise `Stopped` in the main thread, once; the handlers are restored afterwards.

    A second one is ignored while what was begun is wound up, but for Ctrl-C, which then ends the process at once. A
    signal that was ignored from outside (nohup) stays so. Anywhere but in the main thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_DFL if other == signal.SIGINT else signal.SIG_IGN)
        _last.append(Stopped(number))
        raise _last[-1]

    _last.clear()
    before = {n: signal.getsignal(n) for n in STOPPING if signal.getsignal(n) not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        _last.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_if_stopped() -> None:
    """Raise `Stopped` again where it was lost: Python drops what is raised while it collects garbage."""
    if _last:
        raise _last[-1]


def ready_to_compute(cores: int | None = None) -> None:
    """What every command that computes does first, before JAX is imported; `cores`: all if not given."""
    use_compilation_cache()
    use_all_cores(cores)


def peak_memory_gb() -> float | None:
    """Largest resident memory of this process so far, GB (1e9 bytes); None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def return_memory() -> None:
    """Give memory that was freed, and that the C library keeps, back to the system, where it is glibc.

    What reading tens of thousands of spectra takes for a while would otherwise count as the process's to its end.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def versions() -> dict[str, str]:
    """Versions of astrogf, Python and the packages whose numbers enter a result."""
    from astrogf import __version__

    installed = {"astrogf": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = "not installed"
    return installed


def machine() -> dict[str, str | int | None]:
    """What the run was computed on."""
    return {
        "system": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
    }


def git_commit() -> str | None:
    """Commit of the source tree astrogf runs from ('-dirty' if changed since), or None for an installed package."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


class Stopwatch:
    """Seconds since it was made, on top of those `before`, and seconds of each named stage."""

    def __init__(self, before: float = 0.0) -> None:
        self._start = time.perf_counter() - before
        self.stages: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - start
