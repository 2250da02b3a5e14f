"""Where the blocks of a fit are computed: one interface, and the answer that needs nothing, this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

Advance = Callable[[int], None]
"""Called with how many spectra more have been done."""
Function = Callable[[Any, Any, Advance], Any]
"""function(common, task, advance): what a task gives. Defined at the top of a module, and of its arguments alone, so
that it can be computed in another process, and again where that one died."""


class Place(Protocol):
    """Computes tasks."""

    def map(
        self, function: Function, common: Any, tasks: Sequence[Any], advance: Advance = lambda done: None
    ) -> Iterator[Any]:
        """function(common, task) of every task, in their order. `common` is sent to every worker once, and must not
        be changed."""

    def close(self) -> None:
        """Let go of workers."""


class Here:
    """This process."""

    def map(
        self, function: Function, common: Any, tasks: Sequence[Any], advance: Advance = lambda done: None
    ) -> Iterator[Any]:
        """See `Place`."""
        return (function(common, task, advance) for task in tasks)

    def close(self) -> None:
        """There is nobody."""


HERE = Here()
