"""What can be wrong with what somebody gave, as one exception with a code and a sentence."""

import os
import unicodedata
from typing import Any


def printable(text: object, keep: str = "\n\t") -> str:
    r"""The text with what no terminal or file can take written as an escape; all else is as it was.

    Bytes of file names that are not UTF-8 (surrogates in Python) become \xff; control characters but those to `keep`,
    \x1b. The escape is for people: a file is opened by its own path.
    """
    return "".join(
        c
        if c in keep
        else f"\\x{ord(c) - 0xDC00:02x}"
        if "\udc80" <= c <= "\udcff"
        else c.encode("unicode_escape").decode()
        if unicodedata.category(c) in ("Cc", "Cs")
        else c
        for c in str(text)
    )


class AstrogfError(ValueError):
    """Something that whoever gave the input can put right.

    Its text is one or two plain sentences: what is wrong, where, what was expected, what to do. Options are named as
    they are set, 'stars.max_chi2'. `reason` is a short code for programs and tables. `set_aside` is a table of files
    and reasons that is worth keeping although the work ends.
    """

    reason = "input"

    def __init__(self, sentence: str, reason: str | None = None, *, set_aside: Any = None) -> None:
        super().__init__(printable(sentence))
        self.reason = reason or type(self).reason
        self.set_aside = set_aside

    @property
    def sentence(self) -> str:
        """The text from a capital letter to a full stop; a file or an option that it begins with keeps its name."""
        text = str(self).strip()
        first = text.partition(" ")[0].rstrip(".,:;")
        name = any(sign in first for sign in "./\\_") or os.path.lexists(first)
        return (text if name else text[:1].upper() + text[1:]) + ("" if text.endswith((".", "!", "?")) else ".")


class NoFileError(AstrogfError, FileNotFoundError):
    """A file or folder that is not there."""

    reason = "no_file"


class AstrogfWarning(UserWarning):
    """Something that is done all the same, but that whoever gave the input should know."""
