"""What runs in a worker, wherever it is: it gets ready for the cores that it was given, and computes tasks."""

import multiprocessing
import os
import signal
import threading
from typing import Any, NamedTuple

from astrogf.computing.common import loaded
from astrogf.runtime import ready_to_compute

_DEVICES = "--xla_force_host_platform_device_count"


class Done(NamedTuple):
    """What a task gave, and how many spectra it did."""

    result: Any
    spectra: int


def ready(cores: int) -> None:
    """As `runtime.ready_to_compute`, for so many cores. What the environment says of devices is the parent's, which had
    all cores; it stands where it asks for fewer."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    asked = [int(flag.partition("=")[2]) for flag in flags if flag.startswith(_DEVICES)]
    os.environ["XLA_FLAGS"] = " ".join(flag for flag in flags if not flag.startswith(_DEVICES))
    os.environ.pop("NPROC", None)
    ready_to_compute(min([cores, *asked]))


def begin(places: Any) -> None:
    """A process of this machine: it takes the next set of cores. Ctrl-C is for its parent alone, without which it ends,
    however the parent did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cores = places.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    ready(len(cores))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def compute(function: Any, common: str, task: Any) -> Done:
    """function(common, task), `common` in a file: see `inference.blocks.places.Place`."""
    done = [0]

    def advance(more: int) -> None:
        done[0] += more

    return Done(function(loaded(common), task, advance), done[0])
