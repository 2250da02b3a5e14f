"""What is kept of a fit on its way, so that one that was cut short goes on: what a stage asks of whoever keeps it.

A stage of a fit is a function of what came before it. It saves its state under its name after every iteration, and
begins with what is kept under that name; a state is all that the next iteration starts from. Where and how states are
kept is not known here (`astrogf.runs.checkpoint` does it in the run folder).
"""

from collections.abc import Callable
from typing import Any, Protocol


class Checkpoint(Protocol):
    """States by stage. A state is made of NamedTuples, dataclasses, tuples, lists, dicts by string, arrays of numpy or
    JAX, numbers, strings and None."""

    def load(self, stage: str) -> Any:
        """The state that was last saved of a stage, None where there is none."""

    def save(self, stage: str, state: Any) -> None:
        """Keep a state instead of the stage's last one."""


class Nowhere:
    """Keeps nothing."""

    def load(self, stage: str) -> Any:
        """None."""

    def save(self, stage: str, state: Any) -> None:
        """Does nothing."""


NOWHERE = Nowhere()


def once(checkpoint: Checkpoint, stage: str, make: Callable[[], Any]) -> Any:
    """What `make` gives, or gave before the fit was cut short: a stage that is no iteration."""
    state = checkpoint.load(stage)
    if state is None:
        state = make()
        checkpoint.save(stage, state)
    return state
