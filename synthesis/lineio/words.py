"""How messages name what can be said of a list: arguments of `read_lines`, options of a configuration or a command."""

from typing import NamedTuple

OPTIONS = ("format", "medium", "isotopes", "scaled", "on_bad")
"""What can be said of a list besides its path."""


class Words(NamedTuple):
    """`section` is what the names stand below, 'lines' in a configuration; empty for arguments of `read_lines`.

    `command` says that they are options of a command.
    """

    section: str = ""
    command: bool = False

    def name(self, option: str) -> str:
        """'medium', 'lines.medium' or '--medium'."""
        if self.command:
            return f"--{option.replace('_', '-')}"
        return f"{self.section}.{option}" if self.section else option

    def give(self, option: str, *values: object) -> str:
        """Advice to set it: "pass medium='air' or 'vacuum'", or "set lines.medium to 'air' or 'vacuum'"."""
        if self.command:
            return "add " + " or ".join(self.given(option, value) for value in values)
        if not self.section:
            return f"pass {option}=" + " or ".join(map(repr, values))
        return f"set {self.name(option)} to " + " or ".join(map(self.value, values))

    def given(self, option: str, value: object) -> str:
        """What was said: "medium='air'", "lines.medium = 'air'" or "--medium air"."""
        if self.command:
            return self._flag(option, value)
        return f"{self.name(option)} = {self.value(value)}" if self.section else f"{option}={value!r}"

    def drop(self, option: str) -> str:
        """Advice to leave it out."""
        return f"drop {self.name(option)}"

    def _flag(self, option: str, value: object) -> str:
        if isinstance(value, bool):
            return self.name(option) if value else f"--no-{option.replace('_', '-')}"
        return f"{self.name(option)} {value}"

    def value(self, value: object) -> str:
        """A value as it is written in Python, or in TOML."""
        return str(value).lower() if self.section and isinstance(value, bool) else repr(value)


ARGUMENTS = Words()
"""As arguments of `read_lines`."""
COMMAND = Words(command=True)
"""As options of a command."""
