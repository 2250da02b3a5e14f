"""What `astrogf doctor` looks at: each check says what is there, and what to do where that is not enough."""

import importlib
import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from packaging.requirements import Requirement

from astrogf.base.kept import cache_folder
from astrogf.runtime import PACKAGES, use_compilation_cache, versions

State = Literal["ok", "note", "broken"]
PYTHON = (3, 11)
MEMORY_GB, DISK_GB = 3.0, 2.0
"""What the demonstration takes (2.2 GB, docs/how-to/quickstart.md) with room, and what caches and a run may grow to."""
PRODUCT = (4096, 512)
"""Pixels and lines of the product that is checked on every device: a second of processor time."""
FAULTY_JAXLIB = "0.10.2"
"""jaxlib with which products of large matrices were seen to be wrong where it had as many threads as devices."""


class Check(NamedTuple):
    """`broken`: astrogf does not work, or its results would mean nothing. `note`: it works, but should be known."""

    name: str
    state: State
    said: str
    advice: str = ""


def python() -> Check:
    """Version of the interpreter."""
    said = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info < PYTHON:
        return Check("python", "broken", said, f"install Python {PYTHON[0]}.{PYTHON[1]} or later")
    return Check("python", "ok", said)


def packages() -> Check:
    """Versions of what astrogf needs, against what it declares."""
    said = ", ".join(f"{name} {version}" for name, version in versions().items() if name != "python")
    try:
        declared = [Requirement(text) for text in metadata.requires("astrogf") or []]
    except metadata.PackageNotFoundError:
        missing = [name for name in PACKAGES if versions()[name] == "not installed"]
        if missing:
            return Check("packages", "broken", said, f"install {', '.join(missing)}")
        return Check("packages", "note", said, "astrogf runs from a source tree: versions are not compared")
    wrong = []
    for need in declared:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{need} (not installed)")
            continue
        if not need.specifier.contains(found, prereleases=True):
            wrong.append(f"{need} (found {found})")
    if wrong:
        return Check("packages", "broken", said, f"astrogf needs {'; '.join(wrong)}")
    return Check("packages", "ok", said)


def devices() -> list[Check]:
    """Whether JAX starts, on what, in double precision; and whether its products can be trusted."""
    try:
        jax = importlib.import_module("jax")
        found = jax.devices()
    except Exception as error:  # each backend fails in its own way
        text = (str(error).splitlines() or [""])[0]
        return [Check("devices", "broken", f"JAX does not start: {type(error).__name__}: {text}", "reinstall jax")]
    kinds = sorted({f"{d.platform} ({d.device_kind})" for d in found})
    checks = [Check("devices", "ok", f"{len(found)} x {', '.join(kinds)}")]
    if jax.numpy.zeros(1).dtype != np.float64:
        checks.append(Check("precision", "broken", "single", "unset JAX_ENABLE_X64 and import astrogf before JAX"))
    return [*checks, threads(len(found), found[0].platform), products()]


def threads(count: int, kind: str) -> Check:
    """Whether XLA has more threads than devices, without which a jaxlib was seen to lose parts of products."""
    given = os.environ.get("NPROC", "")
    said = f"{given or 'as many as cores'} (NPROC) for {count} device{'s' if count > 1 else ''}"
    few = kind == "cpu" and count > 1 and given.isdigit() and int(given) <= count
    if few and metadata.version("jaxlib") == FAULTY_JAXLIB:
        advice = f"jaxlib {FAULTY_JAXLIB} may get large products wrong so: unset NPROC (fits check theirs)"
        return Check("threads", "note", said, advice)
    return Check("threads", "ok", said)


def products() -> Check:
    """A product of matrices on every device at once, against the same from the columns, as every pass of a fit does.

    It is far smaller than those of a fit, which check themselves.
    """
    from astrogf.inference.problem.miscomputed import TOLERANCE

    wrong = _product_error()
    said = f"right to {wrong:.0e} (relative)"
    if wrong > TOLERANCE:
        advice = "run with XLA_FLAGS=--xla_force_host_platform_device_count=1, or with another jaxlib"
        return Check("products", "broken", f"wrong by {wrong:.1g} (relative)", advice)
    return Check("products", "ok", said)


def _product_error() -> float:
    import jax
    import jax.numpy as jnp

    from astrogf.inference.problem.devices import spread, star_mesh

    mesh = star_mesh()
    rng = np.random.default_rng(0)
    columns = rng.normal(size=PRODUCT)
    weights = rng.uniform(0.5, 1.5, (mesh.devices.size, PRODUCT[0]))
    signs = rng.choice([-1.0, 1.0], PRODUCT[1])

    def one(columns, weights):
        def of_row(w):
            product = signs @ ((columns.T @ (w[:, None] * columns)) @ signs)
            direct = jnp.sum(w * (columns @ signs) ** 2)
            return jnp.abs(product - direct) / direct

        return jax.vmap(of_row)(weights)

    return float(np.max(jax.jit(lambda c, w: spread(one, c, w, mesh))(columns, weights)))


def cache() -> Check:
    """The folder for compiled programs and prepared windows: whether it can be written, and how large it is."""
    folder = cache_folder()
    kept = [p for p in folder.rglob("*") if p.is_file()] if folder.is_dir() else []
    said = f"{folder}, {sum(p.stat().st_size for p in kept) / 1e6:.0f} MB in {len(kept)} files"
    if use_compilation_cache() is None:
        advice = "it cannot be written, so that every run compiles anew: set XDG_CACHE_HOME to a folder of yours"
        return Check("cache", "note", said, advice)
    return Check("cache", "ok", said)


def memory() -> Check:
    """What is free of the machine's memory, or of what the process is allowed."""
    try:
        page, total, free = (os.sysconf(n) for n in ("SC_PAGE_SIZE", "SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return Check("memory", "note", "the system does not say", "")
    total_gb, free_gb = total * page / 1e9, (_available() or free * page) / 1e9
    limit = _limit()
    if limit is not None and limit / 1e9 < total_gb:
        total_gb, free_gb = limit / 1e9, min(free_gb, limit / 1e9)
    said = f"{free_gb:.1f} of {total_gb:.1f} GB are free"
    if free_gb < MEMORY_GB:
        return Check("memory", "note", said, f"the demonstration needs {MEMORY_GB:g} GB: lower [solver] chunk")
    return Check("memory", "ok", said)


def _available() -> int | None:
    """Bytes that Linux would give to a process, caches of files included; None elsewhere."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable"))
    except (OSError, ValueError, StopIteration):
        return None


def _limit() -> int | None:
    """Bytes that the process is limited to by its control group; None if it is not."""
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return int(Path(place).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
    return None


def disk() -> Check:
    """What is free where the cache lies and where runs would be written."""
    places = {"cache": cache_folder(), "here": Path.cwd()}
    free = {name: shutil.disk_usage(_existing(path)).free / 1e9 for name, path in places.items()}
    said = ", ".join(f"{name} {value:.1f} GB free" for name, value in free.items())
    if min(free.values()) < DISK_GB:
        return Check("disk", "note", said, f"less than {DISK_GB:g} GB: a large run or the cache may not fit")
    return Check("disk", "ok", said)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def data() -> list[Check]:
    """Whether the emulators' weights and the line lists that come with the package are there and can be read."""
    checks = []
    for name, read in (("emulators", _emulators), ("line lists", _line_lists)):
        try:
            checks.append(Check(name, "ok", read()))
        except Exception as error:  # whatever is wrong with a file, the package is damaged
            text = (str(error).splitlines() or [""])[0]
            checks.append(Check(name, "broken", f"{type(error).__name__}: {text}", "install astrogf again"))
    return checks


def _emulators() -> str:
    from astrogf.emulator import load

    return ", ".join(name for name in ("atlas9", "atlas12") if load(name) is not None)


def _line_lists() -> str:
    from astrogf.synthesis.lines.shipped import H_BAND, OPTICAL, whole_list

    parts = [f"{len(whole_list(cover)):,} lines of {cover[0]:.0f}–{cover[1]:.0f} Å" for cover in (OPTICAL, H_BAND)]
    return ", ".join(parts)
