"""Libraries that are not installed with astrogf, but that some output needs."""

from importlib import import_module
from typing import Any

from astrogf.base.errors import AstrogfError


def needed(module: str, extra: str, what: str) -> Any:
    """The module. Raises AstrogfError that says how to install it, where it is not there."""
    try:
        return import_module(module)
    except ImportError as error:
        raise AstrogfError(
            f"{what} needs {module.partition('.')[0]}, which cannot be imported ({error}): "
            f"pip install 'astrogf[{extra}]'.",
            "not_installed",
        ) from error
