"""Units as people write them, where astropy does not know the word."""

import re

from astropy import units as u

_WORDS: dict[str, u.UnitBase] = {
    **dict.fromkeys(("kelvin", "kelvins", "degk", "kdeg", "degkelvin", "degreesk", "degreeskelvin", "°k"), u.K),
    **dict.fromkeys(("kms", "kmpersec", "kmpers", "kmsec", "kmsec1", "kms1"), u.km / u.s),
    **dict.fromkeys(("ms", "mpersec", "mpers", "msec", "msec1", "ms1"), u.m / u.s),
    **dict.fromkeys(("a", "å", "ang", "angs", "angstrom", "angstroms", "ångström", "ångströms"), u.AA),
    **dict.fromkeys(("nanometer", "nanometers", "nanometre", "nanometres", "nms"), u.nm),
    **dict.fromkeys(("micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres", "µm"), u.um),
    **dict.fromkeys(("deg", "degree", "degrees", "degs"), u.deg),
    **dict.fromkeys(("cm1", "kayser", "kaysers"), 1 / u.cm),
    **dict.fromkeys(("electronvolt", "electronvolts", "evolt", "ev"), u.eV),
}


def in_words(text: str) -> u.UnitBase | None:
    """The unit that a text means, whatever its case, blanks and signs of powers; None for one not known here.

    >>> in_words("Kelvins"), in_words("km.sec^-1")
    (Unit("K"), Unit("km / s"))
    """
    word = re.sub(r"[\s.*^()\[\]/_-]|sup>|<|u'", "", text.strip().lower())
    return _WORDS.get(word)
