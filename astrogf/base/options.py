"""Options: a section is defined once, where it is used; files, messages and reference pages are made from it.

Nothing here or in the modules that define sections imports JAX, so that a mistake in a configuration answers at once.
"""

import difflib
import inspect
import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] < pair[1]:
        raise ValueError(f"the smaller number first, such as [{pair[1]:g}, {pair[0]:g}]")
    return pair


def _with_spread(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[1] > 0:
        raise ValueError("[mean, sd] with an sd above 0")
    return pair


Range = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_rising)]
"""Two numbers, the smaller first."""
Normal = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_with_spread)]
"""Mean and standard deviation of a Gaussian prior."""
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Names = Annotated[tuple[str, ...], Field(strict=False)]


class Section(BaseModel):
    """Options that belong together: a table of a TOML file, an argument of a function.

    Types as written (no text for a number), no unknown names, nothing infinite, never changed in place.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def changed(self, **values: Any) -> Self:
        """The same options with other values, checked; of a section inside this one, a dictionary of what differs.

        Raises pydantic.ValidationError (a ValueError) as the constructor does.

        >>> from astrogf.inference.problem.options import FitOptions
        >>> FitOptions().changed(solver={"joint_iterations": 3}).solver.joint_iterations
        3
        """
        own = {name: getattr(self, name) for name in type(self).model_fields}
        for name, value in values.items():
            nested = isinstance(value, dict) and isinstance(own.get(name), Section)
            own[name] = own[name].changed(**value) if nested else value
        return type(self)(**own)


def complaint(error: dict[str, Any], section: type[Section], key: str | None = None, name: str | None = None) -> str:
    """One of pydantic's errors about a key of `section` as 'key: expected ..., got ...', or what is unknown of it.

    `key` is that of the error's place by default; `name` is what the sentence calls it.
    """
    key = key or str(error["loc"][0])
    name = name or key
    if error["type"] == "extra_forbidden":
        names = list(section.model_fields)
        near = difflib.get_close_matches(key, names, n=1)
        return f"{name}: unknown key; " + (f"did you mean '{near[0]}'?" if near else f"known are {', '.join(names)}.")
    value = error["input"]
    shown = list(value) if isinstance(value, tuple) else value
    return f"{name}: expected {_expected(error, section, key)}, got {shown!r}.{_nearest(error)}"


def _nearest(error: dict[str, Any]) -> str:
    """Which of a few words a misspelt one may have been meant for."""
    if error["type"] != "literal_error" or not isinstance(error["input"], str):
        return ""
    words = re.findall(r"'([^']*)'", str(error["ctx"]["expected"]))
    near = difflib.get_close_matches(error["input"], words, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _expected(error: dict[str, Any], section: type[Section], key: str) -> str:
    """What pydantic wanted, in the words of somebody who writes TOML."""
    field = section.model_fields[key]
    if error["type"] == "missing" and field.is_required():
        return f"a value ({field.description})"
    if error["type"].startswith("tuple") and "[mean, sd]" in (field.description or ""):
        return "[mean, sd]"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if isinstance(field.default, tuple):
        return f"two numbers such as {list(field.default)}"
    if error["type"] == "bool_type":
        return "true or false"
    if error["type"] == "string_type":
        return "text in quotes"
    if error["type"].startswith("int"):
        return "a whole number"
    message = error["msg"].removeprefix("Input should be ").replace("a valid number", "a number")
    return f"a number {message}" if message.startswith(("greater", "less")) else message


def keys_table(section: type[Section]) -> str:
    """What a section is for, and a Markdown table of its keys: name, default, meaning."""
    rows = [inspect.cleandoc(section.__doc__ or ""), "", "| key | default | meaning |", "|---|---|---|"]
    for key, field in section.model_fields.items():
        value = field.default
        shown = str(list(value)) if isinstance(value, tuple) else repr(value).replace("'", '"')
        if field.is_required():
            shown = "required"
        elif value is None:
            shown = "not set"
        rows.append(f"| `{key}` | `{shown}` | {field.description} |")
    return "\n".join([*rows, ""])
