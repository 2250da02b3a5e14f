"""The workers of a Dask cluster, which somebody else started: on SLURM, Kubernetes, a cloud, or this machine.

It can be imported only where Dask's distributed is installed.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from distributed import Client, KilledWorker, WorkerPlugin
from distributed.comm import CommClosedError

from astrogf.base.errors import AstrogfError
from astrogf.computing.common import Commons
from astrogf.computing.worker import compute, ready
from astrogf.inference.blocks.places import Advance, Function

AHEAD = 4
"""Tasks a worker that are given out before they are asked for."""
PATIENCE, LATEST = 30, 600
"""Seconds until the scheduler must have answered, and the first worker have come."""
TURN = "astrogf"
"""The resource that a task takes, of which each worker has one: JAX spreads a task over the worker's cores itself."""


class Ready(WorkerPlugin):
    """Gets a worker ready, also one that joins later: JAX takes as many cores as the worker has threads."""

    name = "astrogf-ready"

    async def setup(self, worker: Any) -> None:
        """Called by Dask."""
        ready(worker.state.nthreads)
        await worker.set_resources(**{TURN: 1})


class Cluster:
    """`inference.blocks.places.Place`: the workers of the scheduler at an address, or that wrote a file. `folder`: what
    all tasks share; like the run it must lie where all workers see it."""

    def __init__(self, scheduler: str, folder: Path) -> None:
        """Raises AstrogfError where the scheduler does not answer, or no worker comes."""
        where = {"address": scheduler} if "://" in scheduler else {"scheduler_file": scheduler}
        try:
            self.client = Client(**where, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise AstrogfError(
                f"[compute] scheduler: nothing answers at {scheduler} ({error}); start one with `dask scheduler`.",
                "no_dask",
            ) from error
        self.client.register_plugin(Ready())
        try:
            self.client.wait_for_workers(1, timeout=LATEST)
        except TimeoutError as error:
            self.client.close()
            raise AstrogfError(
                f"[compute] scheduler: no worker has come to {scheduler} within {LATEST} seconds; start some with "
                "`dask worker`.",
                "no_dask",
            ) from error
        self.commons = Commons(folder)

    def map(
        self, function: Function, common: Any, tasks: Sequence[Any], advance: Advance = lambda done: None
    ) -> Iterator[Any]:
        """See `Place`. Dask computes again what was on a worker that died. Raises AstrogfError where a task takes its
        worker with it again and again, and where the scheduler is gone."""
        name = self.commons.name_of(common)
        waiting = dict[int, Any]()
        for i in range(len(tasks)):
            ahead = AHEAD * max(len(self.client.nthreads()), 1)
            for j in range(i, min(i + ahead, len(tasks))):
                if j not in waiting:
                    waiting[j] = self.client.submit(
                        compute, function, name, tasks[j], pure=False, resources={TURN: 1}, priority=-j
                    )
            try:
                done = waiting.pop(i).result()
            except KilledWorker as error:
                raise AstrogfError(
                    f"Workers of the cluster died of the same task ({error}): most often they have too little memory; "
                    "start them with more, or set a smaller [solver] chunk. What was finished is kept: the same "
                    "command with --resume goes on.",
                    "worker",
                ) from error
            except (CancelledError, CommClosedError) as error:
                raise AstrogfError(
                    "The scheduler of the Dask cluster was lost; start it again. What was finished is kept: the same "
                    "command with --resume goes on.",
                    "worker",
                ) from error
            advance(done.spectra)
            yield done.result

    def close(self) -> None:
        """Let go of the workers, which stay."""
        self.client.close()
        self.commons.remove()
