"""Train the emulator without the command line: needs jax, equinox and optax only.

python tools/train_emulator.py configs/train_atlas9.toml --out runs/atlas9 --set width=384
"""

import argparse
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from astrogf.emulator.training import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key changed, as in TOML")
    options = parser.parse_args()
    main(options.config, options.out, tomllib.loads("\n".join(options.set)))
