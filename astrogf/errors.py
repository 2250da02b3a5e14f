"""What a user can get wrong, as one exception."""

from typing import Any


class UserError(Exception):
    """Something the user can put right. Its text is one or two plain sentences: what, where, what to do.

    `set_aside` is a table of files and reasons that is worth keeping although the run ends.
    """

    def __init__(self, sentence: str, set_aside: Any = None) -> None:
        super().__init__(sentence)
        self.set_aside = set_aside
