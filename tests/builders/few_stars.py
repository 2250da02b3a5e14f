"""Three stars and four lines in double precision throughout, so that sums in another order agree to rounding."""

import numpy as np

from astrogf.inference.rehearsal.small import OPTIONS, Draw, Small, build, draw

N_STAR, N_LINE = 3, 4


def few_stars() -> Small:
    return build(
        N_STAR, N_LINE, n_pixel=48, kept=40, options=OPTIONS.changed(model={"single": False}, solver={"chunk": 2})
    )


def drawn_of(small: Small) -> Draw:
    """Spectra of S/N 80."""
    return draw(small, np.random.default_rng(5), snr=80.0)
