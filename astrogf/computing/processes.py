"""Several processes on this machine, from the standard library; one that dies is replaced, and its tasks done again."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from astrogf.base.errors import AstrogfError
from astrogf.computing.common import Commons
from astrogf.computing.worker import begin, compute
from astrogf.inference.blocks.places import Advance, Function
from astrogf.runtime import own_cores

AHEAD = 4
"""Tasks a worker that are given out before they are asked for."""
DEATHS = 3
"""So many times in a row without a task being finished is no accident."""


def core_sets(workers: int) -> list[list[int]]:
    """The cores that this process may use, shared out; where there are fewer than workers, some have the same one."""
    cores = own_cores()
    return [cores[i::workers] or [cores[i % len(cores)]] for i in range(workers)]


class Processes:
    """`inference.blocks.places.Place`: `workers` processes, which have the cores of this one between them. `folder`:
    where they find what all tasks share."""

    def __init__(self, workers: int, folder: Path) -> None:
        self.workers, self.commons = workers, Commons(folder)
        self._pool: ProcessPoolExecutor | None = None

    def map(
        self, function: Function, common: Any, tasks: Sequence[Any], advance: Advance = lambda done: None
    ) -> Iterator[Any]:
        """See `Place`. A task must not depend on what another one did: it may be computed twice. Raises AstrogfError
        where workers die again and again."""
        name = self.commons.name_of(common)
        waiting = dict[int, Future]()
        deaths = 0
        for i in range(len(tasks)):
            while True:
                try:
                    for j in range(i, min(i + AHEAD * self.workers, len(tasks))):
                        if j not in waiting:
                            waiting[j] = self._alive().submit(compute, function, name, tasks[j])
                    done = waiting[i].result()
                    break
                except BrokenProcessPool as error:
                    deaths += 1
                    self._forget()
                    waiting = {j: f for j, f in waiting.items() if f.done() and f.exception() is None}
                    if deaths >= DEATHS:
                        raise AstrogfError(
                            f"A worker process died {deaths} times ([compute] where = 'processes'): most often there "
                            "is too little memory for so many; set fewer [compute] workers, or a smaller [solver] "
                            "chunk. What was finished is kept: the same command with --resume goes on.",
                            "worker",
                        ) from error
            del waiting[i]
            deaths = 0
            advance(done.spectra)
            yield done.result

    def close(self) -> None:
        """End the processes, whatever they are at."""
        # what the standard library has a method for from Python 3.14 on
        running = dict(getattr(self._pool, "_processes", None) or {})
        self._forget()
        for process in running.values():
            process.terminate()
            process.join()
        self.commons.remove()

    @property
    def pids(self) -> list[int]:
        """Of the processes there are."""
        # what the standard library has no method for
        return sorted(getattr(self._pool, "_processes", None) or {})

    def _alive(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # a fork would inherit JAX's threads and locks
            context = multiprocessing.get_context("spawn")
            places = context.SimpleQueue()
            for cores in core_sets(self.workers):
                places.put(cores)
            self._pool = ProcessPoolExecutor(self.workers, context, begin, (places,))
        return self._pool

    def _forget(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
