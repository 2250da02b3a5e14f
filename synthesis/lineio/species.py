"""Species as tables spell them: 'Fe II', 'FeII', 'Fe 2', 'Fe+', 26.1, 26.01, or an element and a stage apart."""

import re

from astrogf.base.errors import AstrogfError
from astrogf.synthesis.gas.abundances import SYMBOLS
from astrogf.synthesis.gas.partition import MOLECULES
from astrogf.synthesis.gas.species import parse_species
from astrogf.synthesis.lineio.moog import parse_code
from astrogf.synthesis.lineio.records import OUTSIDE

ROMAN = {name: k for k, name in enumerate(("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"), start=1)}
_SPELLED = re.compile(r"([A-Za-z]{1,2})[\s_-]*(?:([IVXivx]+)|(\d+)|(\++)|(\d*\+|\+\d+))?")
_KURUCZ = re.compile(r"\d{1,2}\.0[1-9]0*")


def species(name: str, stage: int | None = None, isotope: int = 0) -> tuple[int, int, int]:
    """(z, ion, isotope) of a name or a code; `stage` (1 neutral) and `isotope` from columns of their own.

    Raises AstrogfError for what is no species, and where name and `stage` say different things; gives `OUTSIDE` for
    one that the model lacks.
    """
    if stage is not None and stage < 1:
        raise AstrogfError(name)
    z, ion, own, said = _parsed(name)
    if z == 0:
        return OUTSIDE
    if z > 92:
        if stage not in (None, 1):
            return OUTSIDE
        return z, ion, isotope or own
    if stage is not None:
        if said and stage != ion:
            raise AstrogfError(name)
        ion = stage
    return (z, ion, isotope or own) if 1 <= ion <= 3 else OUTSIDE


def says_stage(name: str) -> bool:
    """Whether a name alone says what it is: a stage, or a molecule. Raises AstrogfError as `species` does."""
    z, _, _, said = _parsed(name)
    return said or z == 0 or z > 92


def stage_of(text: str, *, charge: bool) -> int | None:
    """Stage (1 neutral) from a column of its own: 2, 2.0, 'II', and of charges 1, '+', '1+'; None where it is blank.

    Raises AstrogfError for anything else.
    """
    word = text.strip()
    if word in ("", "--", "nan"):
        return None
    if not charge and word.upper() in ROMAN:
        return ROMAN[word.upper()]
    if charge and set(word) == {"+"}:
        return len(word) + 1
    try:
        number = float(word.strip("+") if charge else word)
    except ValueError:
        raise AstrogfError(text) from None
    if number != int(number) or number < 0 or (number < 1 and not charge):
        raise AstrogfError(text)
    return int(number) + (1 if charge else 0)


def _parsed(name: str) -> tuple[int, int, int, bool]:
    """(z, ion, isotope, whether the name itself says the stage)."""
    word = name.strip().strip("'\"").strip()
    try:
        float(word)
    except ValueError:
        pass
    else:
        if _KURUCZ.fullmatch(word):
            z, ion = int(word.partition(".")[0]), int(word.partition(".")[2][1]) + 1
            return (z, ion, 0, True) if z <= 92 and ion <= 3 else (*OUTSIDE, True)
        return (*parse_code(word), "." in word and float(word) != int(float(word)))
    molecule = re.sub(r"\s+(1|I)$", "", word)  # as VALD writes them: 'CN 1'
    if molecule in MOLECULES:
        return (*parse_species(molecule), 0, False)
    match = _SPELLED.fullmatch(word)
    symbol = match[1].capitalize() if match else ""
    if match is None or symbol not in SYMBOLS or (match[2] and match[2].upper() not in ROMAN):
        # one letter and a roman number may have been taken for two letters: 'CI', 'NI', 'VI'
        return (*parse_species(word), 0, True)
    if len(match[1]) == 2 and match[1].isupper() and match[1][1] in "IVX" and not any(match.groups()[1:]):
        return (*parse_species(word), 0, True)
    z = SYMBOLS.index(symbol) + 1
    if match[2]:
        ion = ROMAN[match[2].upper()]
    elif match[3]:
        ion = int(match[3])
    elif match[4]:
        ion = len(match[4]) + 1
    elif match[5]:
        ion = int(match[5].strip("+") or 1) + 1
    else:
        return z, 1, 0, False
    if ion < 1:
        raise AstrogfError(name)
    return (z, ion, 0, True) if ion <= 3 else (*OUTSIDE, True)
