"""How much of its step every correction makes: less where steps turn back.

A saturated line answers to its log gf by less the stronger it is, so that a step computed where it is weak goes too far
and one computed where it is strong comes back too far; a few such lines go to and fro for ever, and the widths of their
groups with them. Halved where it turns, such a step ends between.
"""

import numpy as np
from jaxtyping import Float

TURNS = -0.5
"""A step turns back where it is more than this part of the one before it, against it."""
LEAST, REGAINED = 1.0 / 16.0, 1.5
"""The least part of a step that is made; by how much the part grows where a step does not turn."""


def paced(
    pace: Float[np.ndarray, " line"], step: Float[np.ndarray, " line"], before: Float[np.ndarray, " line"]
) -> Float[np.ndarray, " line"]:
    """The part of every step that is to be made, from that of the last time; both steps are whole ones."""
    turned = step * before < TURNS * before**2
    return np.where(turned, np.maximum(0.5 * pace, LEAST), np.minimum(REGAINED * pace, 1.0))
