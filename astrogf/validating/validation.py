"""`astrogf validate-emulator`: an emulator against a folder of decks, in tables, pictures and one JSON file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from rich.console import Console

from astrogf.base.errors import AstrogfError
from astrogf.runs.outputs import after_results, check_output, write_picture, write_text
from astrogf.runtime import use_compilation_cache

REFERENCE_DEPTHS = np.arange(-6.875, 2.001, 0.125)
NAMES = {"rhox": "RHOX", "t": "T", "p": "P", "xne": "XNE", "abross": "ABROSS", "accrad": "ACCRAD"}


def validate(
    decks: Path,
    out: Path,
    family: str = "atlas9",
    weights: Path | None = None,
    others: Path | None = None,
    sources: Path = Path(".cache/sources"),
    count: int = 10_000,
) -> dict[str, Any]:
    """Write `validation.json`, `index.html` and PNGs into `out`; what the JSON file holds.

    `others`: a folder whose subfolders hold more weights to compare with (such as tools/ablate_emulator.py
    leaves); `sources`: where the package atmosnet lies unpacked, passed over where it does not. Raises AstrogfError.
    """
    check_output(out, "folder")
    for folder, option in ((decks, "--decks"), (others, "--others")):
        if folder is not None and not folder.is_dir():
            raise AstrogfError(f"{option}: there is no folder {folder}.")
    use_compilation_cache()
    from astrogf.emulator import load
    from astrogf.emulator import validation as v
    from astrogf.emulator.atmosnet import FILES, Networks
    from astrogf.emulator.decks import read_folder

    main = load(family, weights)
    read, refused = read_folder(decks, float(main.hull.high[0]))
    trained, note = trained_on(family, weights)
    sample = v.Sample.of(read, trained)
    inside = v.covered(main, sample.labels) if len(sample.labels) else np.zeros(0, bool)
    if not inside.any():
        raise AstrogfError(f"None of the {len(read)} decks in {decks} lies in the domain of the emulator {family}.")

    rivals: dict[str, Any] = {family: main}
    for path in sorted(others.glob("*/*.eqx")) if others else []:
        if path.name != "checkpoint.eqx":
            rivals[path.parent.name] = load(path.stem, path)
    for other in ("atlas9", "atlas12"):
        if other != family:
            try:
                rivals.setdefault(other, load(other))
            except FileNotFoundError:
                continue
    teacher = sources / "atmosnet" / "atmosnet" / "data" / FILES["cool"]
    if teacher.exists():
        rivals["atmosnet"] = Networks.read(teacher)

    common = np.all([v.covered(s, sample.labels) for s in rivals.values()], axis=0)
    fresh = common & sample.unseen
    counted = fresh if fresh.sum() >= 20 else common
    if not counted.any():
        raise AstrogfError(f"No deck in {decks} lies in the domain of all of {', '.join(rivals)}; leave some out.")
    truth = sample.ln
    structures = {name: v.evaluate(source, sample.labels) for name, source in rivals.items()}
    result: dict[str, Any] = {
        "decks": {
            "folder": decks.name,
            "read": len(read),
            "refused": refused,
            "in_domain": int(inside.sum()),
            "unseen_in_training": int((inside & sample.unseen).sum()) if trained else None,
            "note": note,
            "in_table_1": int(counted.sum()),
            "table_1_unseen_only": bool(counted is fresh),
        },
        "family": family,
        "log_tau": list(v.RANGE),
        "table_1": {name: v.errors(f[counted], truth[counted]) for name, f in structures.items()},
        "own_domain": v.errors(structures[family][inside], truth[inside]),
        "table_2": {"decks": v.spread(sample.residual)}
        | {name: v.spread(v.residuals(s, sample.labels[counted], _depths(s))) for name, s in rivals.items()},
        "label_derivatives": {
            name: v.derivatives(f, sample, common) for name, f in structures.items()
        },
        "draws": v.draws(main, np.asarray(main.hull.low), np.asarray(main.hull.high), count, seed=20),
    }  # fmt: skip
    result["bars"] = bars(result)
    write_text(out / "validation.json", json.dumps(result, indent=1) + "\n")
    with after_results("The pictures or the page", str(out / "validation.json")):
        _draw(result, out, structures, truth, counted, inside, sample)
    say(result, out)
    return result


def _draw(
    result: dict[str, Any],
    out: Path,
    structures: dict[str, np.ndarray],
    truth: np.ndarray,
    counted: np.ndarray,
    inside: np.ndarray,
    sample: Any,
) -> None:
    """The pictures, and the page that shows them."""
    from astrogf.emulator.validation import LAYERS
    from astrogf.validating import figures

    family = result["family"]
    pictures = {
        "errors_by_depth": figures.by_depth({k: f[counted] for k, f in structures.items()}, truth[counted], LAYERS),
        "hr_errors": figures.over_hr(structures[family][inside], truth[inside], sample.labels[inside], family),
        "label_derivatives": figures.derivatives(result["label_derivatives"]),
    }
    for name, figure in pictures.items():
        write_picture(out / f"{name}.png", figure)
    environment = Environment(
        loader=PackageLoader("astrogf.fitting"), autoescape=select_autoescape(default=True), undefined=StrictUndefined
    )
    page = environment.get_template("validation.html.j2").render(r=result, names=NAMES)
    write_text(out / "index.html", page)


def trained_on(family: str, weights: Path | None) -> tuple[set[tuple[float, ...]], str]:
    """Labels that the emulator was fitted to, if its card and the training set are at hand; else none, and why."""
    from astrogf.emulator.model import DATA
    from astrogf.emulator.training import Nodes

    card = (weights or DATA / f"{family}.eqx").with_suffix(".json")
    if not card.exists():
        return set(), f"no card {card.name}: which decks were trained on is not known"
    saved = json.loads(card.read_text())
    config = saved["config"]
    if not Path(config["data"]).exists():
        return set(), f"the training set {config['data']} is not here: which decks were trained on is not known"
    nodes = Nodes.read(Path(config["data"]))
    if nodes.sha256 != saved["data_sha256"]:
        return set(), f"{config['data']} is not the file that was trained on: which decks were is not known"
    fit, stop, _ = nodes.split(config["held_out"], config["validation"], config["seed_split"])
    rows = nodes.labels[np.concatenate([fit, stop])]
    return {tuple(x) for x in rows}, "decks held out of training are known from the card and the training set"


def bars(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What the project set itself, against what was measured here."""
    errors, residual, draws = result["table_1"][result["family"]], result["table_2"][result["family"]], result["draws"]
    rows = []
    for q, name in NAMES.items():
        if q != "accrad":
            unit = "%" if q == "t" else "dex"
            rows.append((f"{name}, median", errors[q]["median"], 0.1 if q == "t" else 0.003, unit))
            rows.append((f"{name}, 99th percentile", errors[q]["p99"], 1.0 if q == "t" else 0.03, unit))
    rows.append(("hydrostatic residual, median", residual["median"], 0.0005, "dex"))
    for label, table in result["label_derivatives"][result["family"]].items():
        for q, name in NAMES.items():
            if q in table and q != "accrad" and table[q]["all"] is not None:
                rows.append((f"d ln {name} / d {label}, rms", 100 * table[q]["all"], 3.0, "%"))
    bars = [{"what": w, "measured": m, "bar": b, "unit": u, "met": bool(m <= b)} for w, m, b, u in rows]
    for key in ("finite_and_positive", "tau_increases", "rhox_increases", "p_increases"):
        bars.append({"what": f"{key.replace('_', ' ')}, of {draws['draws']} draws", "measured": draws[key],
                      "bar": draws["draws"], "unit": "", "met": draws[key] == draws["draws"]})  # fmt: skip
    return bars


def say(result: dict[str, Any], out: Path) -> None:
    """The bars, on the terminal."""
    console = Console(highlight=False)
    console.print(f"{result['decks']['in_table_1']} decks in all domains, {result['decks']['note']}", soft_wrap=True)
    for row in result["bars"]:
        mark = "[green]met[/green]" if row["met"] else "[red]not met[/red]"
        text = f"  {row['what']:<44} {row['measured']:>10.5g} {row['unit']:<3} (bar {row['bar']:g}) {mark}"
        console.print(text, soft_wrap=True)
    console.print(f"Written to {out / 'index.html'}", markup=False, soft_wrap=True)


def _depths(source: Any) -> np.ndarray:
    return np.asarray(source.log_tau) if hasattr(source, "log_tau") else REFERENCE_DEPTHS
