"""The store at survey scale: spectra a second in and out, peak memory, and a kill in the middle.

Run: python benchmarks/store_speed.py [--spectra 20000] [--files 2000] [--work DIR] [--json OUT]. Spectra are simulated
LAMOST LRS (3909 pixels, photon-like noise, bad pixels). Twice the same is asked: of spectra handed over in memory,
which times the store alone, and of gzipped FITS files, which times the whole way of a user. Every step runs in a
process of its own, whose peak memory is told; the killed runs get SIGKILL when their journal names half of the chunks,
are run again, and every file of theirs is then compared with the run that was left alone.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from astrogf.surveys.simulate import LRS_FIRST, LRS_PIXELS, observe, write_lamost_lrs
from astrogf.surveys.store.store import GRIDS, Store, create, summary

SEED = 6
BATCH = 256


def simulated(number: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Flux, ivar and S/N of one star: a slope, some broad and narrow dips, noise and bad pixels."""
    rng = np.random.default_rng((SEED, number))
    x = np.linspace(-1.0, 1.0, LRS_PIXELS)
    flux = 1000.0 * (1.0 + 0.3 * rng.uniform(-1, 1) * x)
    lines = rng.random(LRS_PIXELS) < 0.1
    flux *= 1.0 - np.convolve(lines * rng.uniform(0, 0.5, LRS_PIXELS), np.hanning(9) / 2, "same").clip(0, 0.9)
    snr = float(10 ** rng.uniform(1, 2.3))
    seen = observe(flux, snr, rng)
    return np.where(seen.bad, 0.0, seen.flux), seen.ivar, snr


def write(store: Path, n: int) -> dict:
    """Spectra in memory into the store, from where it stands; seconds spent in the store alone."""
    from astrogf.surveys.store.writer import open_writer

    if not store.exists():
        create(store, GRIDS["lamost_lrs"], kind="lamost_lrs")
    start, spent = len(Store(store)), 0.0
    began = time.perf_counter()
    with open_writer(store, "simulated") as writer:
        spent += time.perf_counter() - began
        for i in range(start, n):
            flux, ivar, snr = simulated(i)
            row = {"path": f"star{i:06d}", "sha256": hashlib.sha256(flux).hexdigest(), "snr": snr, "class": "STAR"}
            row |= {"ra": (i * 0.618034 * 360) % 360, "dec": float(-10 + 70 * i / n), "release": "simulated"}
            began = time.perf_counter()
            writer.add(LRS_FIRST, flux, ivar, row)
            spent += time.perf_counter() - began
        began = time.perf_counter()
    return {"spectra": n - start, "seconds": spent + time.perf_counter() - began}


def read(store: Path, n: int) -> dict:
    """All spectra streamed in batches of one shape, sha256 verified; every pixel is touched."""
    from astrogf.surveys.store.stream import stream

    began, count, total, shapes = time.perf_counter(), 0, 0.0, set()
    for batch in stream(store, BATCH):
        count += int((~batch.table["padding"]).sum())
        total += float(batch.flux.sum())
        shapes.add(batch.flux.shape)
    seconds = time.perf_counter() - began
    assert count == n, (count, n)
    assert len(shapes) == 1, shapes
    return {"spectra": count, "seconds": seconds, "sum_of_flux": total}


def files(folder: Path, n: int) -> dict:
    """Simulated files, gzipped, 250 a folder as LAMOST's own plates are."""
    for i in range(n):
        flux, ivar, snr = simulated(i)
        path = folder / f"plate{i // 250:03d}" / f"spec-{i:06d}.fits.gz"
        place = {"ra": (i * 0.618034 * 360) % 360, "dec": float(-10 + 70 * i / n), "rv": 10.0}
        write_lamost_lrs(path, LRS_FIRST, flux, ivar, **place, snr=snr, obsid=i, subclass="G2")
    return {"spectra": n}


def ingest(folder: Path, store: Path, n: int) -> dict:
    """The whole way from files."""
    from astrogf.surveys.store.fill import ingest as take

    start = len(Store(store)) if store.exists() else 0
    began = time.perf_counter()
    assert len(take(folder, store, chunk=256)) == n
    return {"spectra": n - start, "seconds": time.perf_counter() - began}


def child(*arguments: str | Path | int, kill_at: tuple[Path, int] | None = None) -> dict:
    """Run one task in a process of its own; with kill_at, until the journal of that store has so many lines."""
    task = [sys.executable, __file__, "--task", *(str(a) for a in arguments)]
    with subprocess.Popen(task, stdout=subprocess.PIPE, text=True) as process:
        if kill_at is not None:
            journal = kill_at[0] / "journal.jsonl"
            while process.poll() is None:
                if journal.exists() and journal.read_bytes().count(b"\n") >= kill_at[1]:
                    time.sleep(0.05)  # into the next chunk
                    os.kill(process.pid, signal.SIGKILL)
                    break
                time.sleep(0.005)
        out = process.communicate()[0]
    if kill_at is not None:
        assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
        return {"spectra_kept": len(Store(kill_at[0]))}
    if process.returncode:
        raise SystemExit(f"{' '.join(task)} failed")
    return json.loads(out)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def task(arguments: list[str]) -> None:
    from astrogf.runtime import peak_memory_gb

    name, *rest = arguments
    given = [int(a) if a.isdigit() else Path(a) for a in rest]
    result = {"write": write, "read": read, "files": files, "ingest": ingest}[name](*given)  # type: ignore[operator]
    result["peak_memory_gb"] = peak_memory_gb()
    if "seconds" in result:
        result["per_second"] = result["spectra"] / result["seconds"]
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectra", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=2_000)
    parser.add_argument("--work", type=Path, help="empty folder to work in; default: a temporary one")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        return task(options.task)

    work = options.work or Path(tempfile.mkdtemp(prefix="store_speed"))
    n, m, result = options.spectra, options.files, {}

    def tell(name: str, value: dict) -> None:
        result[name] = value
        print(
            f"{name:28s} " + "  ".join(f"{k} {v:.5g}" if isinstance(v, float) else f"{k} {v}" for k, v in value.items())
        )

    whole, killed, folder = work / "whole", work / "killed", work / "files"
    tell("write, in memory", child("write", whole, n))
    about = summary(whole)
    tell("store", {"bytes": about["bytes"], "bytes_per_spectrum": about["bytes"] / n, "chunks": about["chunks"]})
    tell("stream", child("read", whole, n))
    tell("killed, in memory", child("write", killed, n, kill_at=(killed, about["chunks"] // 2)))
    tell("resumed, in memory", child("write", killed, n))
    tell("same bytes, in memory", {"same": hashes(whole) == hashes(killed), "files": len(hashes(whole))})
    shutil.rmtree(killed)

    tell("files written", child("files", folder, m))
    whole_files, killed_files = work / "whole_files", work / "killed_files"
    tell("ingest, from files", child("ingest", folder, whole_files, m))
    tell("killed, from files", child("ingest", folder, killed_files, m, kill_at=(killed_files, m // 512)))
    tell("resumed, from files", child("ingest", folder, killed_files, m))
    tell("same bytes, from files", {"same": hashes(whole_files) == hashes(killed_files)})
    tell("ingest again, nothing new", child("ingest", folder, whole_files, m))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    if options.work is None:
        shutil.rmtree(work)
    if not (result["same bytes, in memory"]["same"] and result["same bytes, from files"]["same"]):
        raise SystemExit("A killed and resumed store differs from the one that was left alone.")


if __name__ == "__main__":
    main()
