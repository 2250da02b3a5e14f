"""The reference of commands, written from their definitions: `make reference` puts it below the head of its page."""

import inspect
from enum import StrEnum
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo

from astrogf.cli import app

COMMON = ("json", "quiet", "debug", "overwrite")
"""Options that the head of the page explains once."""


def reference() -> str:
    """Markdown: of every command what it does, an example, and a table of its arguments and options."""
    return "\n".join(_section(c.name or c.callback.__name__, c.callback) for c in app.registered_commands if c.callback)


def _section(name: str, command: Any) -> str:
    told, _, example = " ".join((inspect.getdoc(command) or "").split()).partition("Example: ")
    hints = get_type_hints(command, include_extras=True)
    parameters = [p for key, p in inspect.signature(command).parameters.items() if key not in COMMON]
    rows = [_row(p.name, hints[p.name], p.default) for p in parameters]
    table = ["| argument or option | default | meaning |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join([f"## `astrogf {name}`", "", told.strip(), "", f"Example: {example}", "", *table])


def _row(key: str, hint: Any, default: Any) -> str:
    kind, info = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
    name = key.replace("_", "-")
    if isinstance(info, ArgumentInfo):
        name = (info.metavar or name.upper()).strip("[].")
    else:
        # of Option("--all"), in an annotation, typer keeps the first name as the default
        named = [n for n in (getattr(info, "default", None), *(getattr(info, "param_decls", None) or ())) if n]
        name = ", ".join(n for n in named if isinstance(n, str) and n.startswith("-")) or f"--{name}"
    meaning = (info.help or "" if info is not None else "").rstrip(".").replace("|", "/")
    words = next(([f"`{w.value}`" for w in k] for k in (kind, *get_args(kind)) if _is_words(k)), [])
    if words and not all(word.strip("`") in meaning for word in words):
        meaning += f": {', '.join(words)}"
    return f"| `{name}` | {_default(default)} | {meaning} |"


def _is_words(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    return "" if value is None or value == "" or isinstance(value, bool) else f"`{value}`"


if __name__ == "__main__":
    print(reference(), end="")
