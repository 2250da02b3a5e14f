"""Other solvers than Gauss-Newton: a variational one for surveys, and for small problems without approximations.

Order of reading: minibatch, elbo, svi (stars batch by batch); model (the definition), gaussian, nuts, laplace, skewed,
refine (small problems, on NumPyro's density).
"""

import warnings

with warnings.catch_warnings():
    # NumPyro imports tqdm, which warns in a notebook without widgets of bars that are not shown here
    warnings.filterwarnings("ignore", message="IProgress not found")
    import numpyro  # noqa: F401
