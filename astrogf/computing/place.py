"""The place that a configuration names."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astrogf.base.errors import AstrogfError
from astrogf.computing.options import ComputeOptions
from astrogf.inference.blocks.places import HERE, Place
from astrogf.runtime import own_cores


@contextmanager
def place_of(options: ComputeOptions, folder: Path) -> Iterator[Place]:
    """Within, the place is there to compute. `folder`: where workers find what they share; it is made where there are
    any. Raises AstrogfError where a cluster cannot be had."""
    if options.where == "here":
        yield HERE
        return
    place: Place
    if options.where == "processes":
        from astrogf.computing.processes import Processes

        place = Processes(options.workers or default_workers(), folder)
    else:
        try:
            from astrogf.computing.cluster import Cluster
        except ImportError as error:
            raise AstrogfError(
                "[compute] where = 'dask' needs Dask's distributed: pip install 'astrogf[cluster]'.", "no_dask"
            ) from error
        place = Cluster(options.scheduler or "", folder)
    try:
        yield place
    finally:
        place.close()


def default_workers() -> int:
    """One process for every two cores."""
    return max(len(own_cores()) // 2, 1)
