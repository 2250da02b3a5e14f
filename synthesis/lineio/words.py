"""How messages name what can be said of a list: as arguments of `read_lines`, or as the options of a configuration."""

from typing import NamedTuple

OPTIONS = ("format", "medium", "isotopes", "scaled", "on_bad")
"""What can be said of a list besides its path."""


class Words(NamedTuple):
    """`section` is what the names stand below, 'lines' in a configuration; empty for arguments of `read_lines`."""

    section: str = ""

    def name(self, option: str) -> str:
        """'medium', or 'lines.medium'."""
        return f"{self.section}.{option}" if self.section else option

    def give(self, option: str, *values: object) -> str:
        """Advice to set it: "pass medium='air' or 'vacuum'", or "set lines.medium to 'air' or 'vacuum'"."""
        if not self.section:
            return f"pass {option}=" + " or ".join(map(repr, values))
        return f"set {self.name(option)} to " + " or ".join(map(self.value, values))

    def given(self, option: str, value: object) -> str:
        """What was said: "medium='air'", or "lines.medium = 'air'"."""
        return f"{self.name(option)} = {self.value(value)}" if self.section else f"{option}={value!r}"

    def drop(self, option: str) -> str:
        """Advice to leave it out."""
        return f"drop {self.name(option)}"

    def value(self, value: object) -> str:
        """A value as it is written in Python, or in TOML."""
        return str(value).lower() if self.section and isinstance(value, bool) else repr(value)


ARGUMENTS = Words()
"""As arguments of `read_lines`."""
