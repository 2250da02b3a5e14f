"""Which log gf of the shipped optical atoms another list agrees with.

The source of the shipped list has no flags of quality. That two compilations have different numbers which agree is one
(tools/build_agreement.py has the rule). Of 854 lines with a laboratory log gf (4800-6800 A; Placco et al. 2021, RNAAS
5, 92) the list is off by more than 0.1 dex in 3% of those that agree, 50% of those that differ by more than 0.03 dex,
and 16% of those that are the same number in both.
"""

from functools import cache

import numpy as np
from jaxtyping import Int

from astrogf.synthesis.package_data import arrays

NAMES = ("unjudged", "agreed", "disputed")
"""Kinds, by number: one list has it, or both have the same number; two lists agree; they do not."""
AGREED = NAMES.index("agreed")
AGREED_SD = 0.03
"""dex: what values that agree to 0.03 dex are good to."""


@cache
def _kinds() -> tuple[np.ndarray, np.ndarray]:
    table = arrays("agreement")
    return table["transition"].astype(int), table["kind"].astype(int)


def agreement(transition: Int[np.ndarray, " line"]) -> Int[np.ndarray, " line"]:
    """Kind of each transition of `shipped.load_atomic_lines`, by its number; 0 for numbers of other lists."""
    number, kind = _kinds()
    row = np.clip(np.searchsorted(number, transition), 0, len(number) - 1)
    return np.where(number[row] == transition, kind[row], 0)
