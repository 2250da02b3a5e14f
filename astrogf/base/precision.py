"""Double precision, switched on before anything is computed."""

import os
import sys


def use_double_precision() -> None:
    """Let JAX compute in float64, whether it is imported yet or not; `import astrogf` calls this.

    Sums over thousands of lines and the solution of the normal equations need it (tests/base/test_precision.py shows
    what float32 costs). The switch is in the environment, so that a command that computes nothing need not import JAX.
    """
    os.environ["JAX_ENABLE_X64"] = "1"
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", True)
