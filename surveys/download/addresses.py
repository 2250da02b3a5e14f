"""Where the public file of a spectrum lies, from the identifier that the surveys' catalogues give.

SDSS: the path templates of the survey's own package sdss-tree 4.1.4 (dr8.cfg to dr20.cfg) and the functions of
sdss-access 3.0.11 that fill them, retyped; below https://data.sdss.org/sas. APOGEE in DR17: the documented paths
$APOGEE_REDUX/dr17/stars and $APOGEE_ASPCAP/dr17/synspec_rev1. LAMOST: spectrum/fits/OBSID and medspectrum/fits/OBSID
below a release's site, as the survey's client pylamost asks for them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from astropy.table import Table

from astrogf.base.errors import AstrogfError
from astrogf.surveys.spectrum import SurveyError

SAS = "https://data.sdss.org/sas"
LAMOST_VERSIONS = {6: "2.0", 7: "2.0", 8: "2.0", 9: "2.0", 10: "2.0", 11: "2.0"}
"""The last public version of each LAMOST release whose address has one."""
_BOSS_RUN2D = {16: "v5_13_0", 17: "v5_13_2", 18: "v5_13_2", 19: "v5_13_2", 20: "v5_13_2"}
_SDSSV_RUN2D = {18: "v6_0_4", 19: "v6_1_3"}
_ASTRA = {19: "0.6.0"}
_LEGACY = ("26", "103", "104")  # run2d of SDSS-I/II, of SEGUE's cluster plates and of SEGUE-2
_FIRST_BOSS_PLATE = 3510


class Target(NamedTuple):
    """One file: the identifier that asked for it, its name on disk, and where it may lie, to be tried in turn."""

    identifier: str
    name: str
    urls: tuple[str, ...]


def targets(
    kind: str,
    identifiers: list[str],
    *,
    release: str = "",
    version: str = "",
    base: str = "",
) -> list[Target]:
    """The files of a kind (a key of KINDS), in the order given, each once.

    identifiers: words as KINDS says. release: such as dr17; each kind has its default. version: run2d of SDSS
    optical spectra, version of Astra for mwmStar, version of a LAMOST release. base: another root of the
    address, such as a mirror's. Raises SurveyError for what cannot be an identifier or a release of that kind.
    """
    if kind not in KINDS:
        raise SurveyError(f"{kind!r} is no kind of file known here; there are: {', '.join(KINDS)}.")
    form, default, build = KINDS[kind]
    number = _release(release or default, kind)
    out = {}
    for identifier in identifiers:
        word = identifier.strip()
        if word and word not in out:
            try:
                name, urls = build(word, number, version, base.rstrip("/"))
            except SurveyError:
                raise
            except ValueError as err:
                raise SurveyError(f"{word!r} is no identifier of {kind}: {form} is expected.") from err
            out[word] = Target(word, name, tuple(urls))
    return list(out.values())


def identifiers_of(kind: str, table: Table) -> list[str]:
    """The identifiers that a catalogue's rows give, by its column names. Raises SurveyError if they are absent."""
    names = {name.lower(): name for name in reversed(table.colnames)}
    parts = []
    for choices in _COLUMNS[kind]:
        column = next((names[c] for c in choices if c in names), None)
        if column is None:
            raise SurveyError(
                f"The table has no column {' or '.join(choices)}, which identifies {kind}; it has: "
                f"{', '.join(table.colnames[:12])}."
            )
        parts.append([str(value).strip() for value in table[column]])
    separator = "/" if kind in ("apstar", "aspcapstar") else "-"
    return [separator.join(words) for words in zip(*parts, strict=True)]


def _release(release: str, kind: str) -> int:
    word = release.lower().removeprefix("dr")
    if not word.isdigit():
        raise SurveyError(f"{release!r} is no data release: write it as dr17.")
    return int(word)


def _known(versions: dict[int, str], release: int, version: str, what: str) -> str:
    if version:
        return version
    if release not in versions:
        raise SurveyError(
            f"The {what} of dr{release} is not known here (known: {', '.join(f'dr{n}' for n in versions)}): give it "
            "with --version, as the release's own pages say."
        )
    return versions[release]


def _sdss(flavour: str) -> Callable[..., tuple[str, list[str]]]:
    def build(word: str, release: int, version: str, base: str) -> tuple[str, list[str]]:
        plate, mjd, fiber = (_whole(part) for part in word.split("-"))
        if not 8 <= release <= 20:
            raise SurveyError(f"There are no SDSS plates in dr{release}: give dr8 to dr20.")
        runs: tuple[str, ...] = (version,) if version else _LEGACY
        if not version and plate >= _FIRST_BOSS_PLATE:
            runs = (_known(_BOSS_RUN2D, release, "", "run2d"),)
        if flavour == "full" and release < 16:
            raise SurveyError(f"Full SDSS spectra are known here as they lie since dr16, not in dr{release}.")
        name = f"spec-{plate:04d}-{mjd:05d}-{fiber:04d}.fits"
        urls = []
        for run2d in runs:
            if release >= 18:
                root = "spectro/sdss"
            elif run2d in _LEGACY:
                root = "sdss/spectro"
            else:
                root = "eboss/spectro" if release >= 13 else "boss/spectro"
            path = f"{root}/redux/{run2d}/spectra/{flavour}/{plate:04d}/{name}"
            urls.append(f"{base or SAS}/dr{release}/{path}")
        return name, urls

    return build


def _sdssv(flavour: str) -> Callable[..., tuple[str, list[str]]]:
    def build(word: str, release: int, version: str, base: str) -> tuple[str, list[str]]:
        field, mjd, catalogid = (_whole(part) for part in word.split("-"))
        run2d = _known(_SDSSV_RUN2D, release, version, "run2d")
        middle = f"/{field // 1000:03d}XXX"
        if run2d in ("v6_0_1", "v6_0_2", "v6_0_3", "v6_0_4"):
            folder, name = f"{field}p", f"spec-{field}-{mjd}-{catalogid:011d}.fits"
        else:
            folder, name = f"{field:06d}", f"spec-{field:06d}-{mjd}-{catalogid}.fits"
        # since v6_2 the fields are grouped, and single epochs and dailies are apart
        grouped = not run2d.startswith(("v6_0", "v6_1"))
        path = f"spectra/daily/{flavour}{middle}" if grouped else f"spectra/{flavour}"
        root = f"{base or SAS}/dr{release}/spectro/boss/redux/{run2d}"
        return name, [f"{root}/{path}/{folder}/{mjd}/{name}"]

    return build


def _apogee(product: str) -> Callable[..., tuple[str, list[str]]]:
    def build(word: str, release: int, version: str, base: str) -> tuple[str, list[str]]:
        if release != 17:
            raise SurveyError(f"{product} files are known here as they lie in dr17, not in dr{release}.")
        telescope, field, star = (quote(part, safe="+") for part in word.split("/"))
        if telescope not in ("apo25m", "lco25m", "apo1m") or not field or not star:
            raise ValueError
        # the southern instrument's coadds begin with "as"; ASPCAP's names do not tell
        prefix = "asStar" if telescope == "lco25m" else "apStar"
        root = f"{base or SAS}/dr17/apogee/spectro"
        if product == "apStar":
            name = f"{prefix}-dr17-{star}.fits"
            return name, [f"{root}/redux/dr17/stars/{telescope}/{field}/{name}"]
        name = f"aspcapStar-dr17-{star}.fits"
        return name, [f"{root}/aspcap/dr17/{version or 'synspec_rev1'}/{telescope}/{field}/{name}"]

    return build


def _mwmstar(word: str, release: int, version: str, base: str) -> tuple[str, list[str]]:
    sdss_id = _whole(word)
    astra = _known(_ASTRA, release, version, "version of Astra")
    name = f"mwmStar-{astra}-{sdss_id}.fits"
    folder = f"{sdss_id // 100 % 100:02d}/{sdss_id % 100:02d}"
    return name, [f"{base or SAS}/dr{release}/spectro/astra/{astra}/spectra/star/{folder}/{name}"]


def _lamost(prefix: str) -> Callable[..., tuple[str, list[str]]]:
    def build(word: str, release: int, version: str, base: str) -> tuple[str, list[str]]:
        obsid = _whole(word)
        if release < 1 or (prefix and release < 6):
            raise SurveyError(f"LAMOST dr{release} has no such spectra: MRS begin with dr6.")
        number = version.removeprefix("v")
        if release >= 6:
            number = _known(LAMOST_VERSIONS, release, number, "version")
        root = base or (f"https://www.lamost.org/dr{release}" if release >= 6 else f"http://dr{release}.lamost.org")
        version_part = f"/v{number}" if number else ""
        kind = "mrs" if prefix else "lrs"
        return f"lamost-{kind}-dr{release}-{obsid}.fits", [f"{root}{version_part}/{prefix}spectrum/fits/{obsid}"]

    return build


def _whole(word: Any) -> int:
    value = int(word)
    if value < 0:
        raise AstrogfError(word)
    return value


KINDS: dict[str, tuple[str, str, Callable[..., tuple[str, list[str]]]]] = {
    "sdss-lite": ("PLATE-MJD-FIBER", "dr17", _sdss("lite")),
    "sdss-full": ("PLATE-MJD-FIBER", "dr17", _sdss("full")),
    "sdssv-lite": ("FIELD-MJD-CATALOGID", "dr19", _sdssv("lite")),
    "sdssv-full": ("FIELD-MJD-CATALOGID", "dr19", _sdssv("full")),
    "apstar": ("TELESCOPE/FIELD/APOGEE_ID", "dr17", _apogee("apStar")),
    "aspcapstar": ("TELESCOPE/FIELD/APOGEE_ID", "dr17", _apogee("aspcapStar")),
    "mwmstar": ("SDSS_ID", "dr19", _mwmstar),
    "lamost-lrs": ("OBSID", "dr8", _lamost("")),
    "lamost-mrs": ("OBSID", "dr8", _lamost("med")),
}
"""Kinds of files: the form of the identifier, the default release, and what makes the address."""

_PLATES = (("plate", "plateid"), ("mjd",), ("fiber", "fiberid", "fiber_id"))
_FIELDS = (("field", "fieldid"), ("mjd",), ("catalogid",))
_STARS = (("telescope",), ("field",), ("apogee_id",))
_COLUMNS: dict[str, tuple[tuple[str, ...], ...]] = {
    **dict.fromkeys(("sdss-lite", "sdss-full"), _PLATES),
    **dict.fromkeys(("sdssv-lite", "sdssv-full"), _FIELDS),
    **dict.fromkeys(("apstar", "aspcapstar"), _STARS),
    "mwmstar": (("sdss_id",),),
    **dict.fromkeys(("lamost-lrs", "lamost-mrs"), (("obsid",),)),
}
