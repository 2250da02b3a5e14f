"""The same model without Gauss-Newton's approximations.

Order of reading: model, gaussian, nuts, svi, laplace, refine.
"""

import warnings

with warnings.catch_warnings():
    # NumPyro imports tqdm, which warns in a notebook without widgets of bars that are not shown here
    warnings.filterwarnings("ignore", message="IProgress not found")
    import numpyro  # noqa: F401
