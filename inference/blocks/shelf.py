"""Where the large arrays of a block of stars lie between two visits: in memory, or wherever a `Shelf` puts them.

What is put on a shelf is a state as `inference.checkpoint` has them (NamedTuples, tuples, arrays ...). What comes back
is a handle, small enough to be a part of a state and to be sent to another process, which gets the value again.
"""

from typing import Any, NamedTuple, Protocol


class Kept(Protocol):
    """A value on a shelf."""

    def get(self) -> Any:
        """The value."""


class Shelf(Protocol):
    """Takes values. It must itself be small enough to be sent to another process, which then puts values there too."""

    def put(self, value: Any, *, lasting: bool = False) -> Kept:
        """Keep a value: as long as a saved state holds its handle, or, if `lasting`, as long as the run goes on."""


class InMemory(NamedTuple):
    """A value that is its own handle."""

    value: Any

    def get(self) -> Any:
        """The value."""
        return self.value


class Memory:
    """No shelf at all: everything stays in memory."""

    def put(self, value: Any, *, lasting: bool = False) -> InMemory:
        """The value itself."""
        return InMemory(value)


MEMORY = Memory()
