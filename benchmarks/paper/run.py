"""The paper's experiments: python benchmarks/paper/run.py NAME…|all [--nets DIR] [--data DIR] [--work DIR] [--out DIR]

Settings are in settings.toml. Weights of nets that others trained are read from --nets, as NAME.safetensors;
benchmarks/README.md says where they are published. Own nets are those beside this file; `art-flat train` with the
files in nets/ makes them again. --data holds mnist/ and cifar10_genuine_subset.npz, or cifar10/ as
torchvision leaves it.

What is measured is kept in --work, one folder per net, seed and settings: an interrupted run goes on there, and a
second run only draws the tables, figures and RESULTS.md. Experiments whose nets are not there are left out and named.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
import warnings
from pathlib import Path
from typing import Any

import torch
from experiments import EXPERIMENTS
from experiments.cases import Nets
from experiments.outcome import Outcome
from experiments.units import SOURCES, Unit, collect, costs, measure, plan
from page import write_results
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[2] / "shared" / "data"


def main() -> None:
    options = _arguments()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    settings = tomllib.loads((HERE / "settings.toml").read_text(encoding="utf-8"))
    public = Nets(settings["nets"]["public"], options.nets, options.data)
    own = Nets(settings["nets"]["own"], options.weights, options.data)
    nets = {**public, **own}
    names = list(EXPERIMENTS) if "all" in options.names else options.names
    for name in names:
        for source in options.source:
            units = plan(EXPERIMENTS[name], settings[name], source, options.n)
            known = [unit for unit in units if all(net in nets for net in unit.nets)]
            missing = sorted({net for unit in units for net in unit.nets} - set(nets))
            if missing:
                print(f"{name}, {SOURCES[source]}: no weights of {', '.join(missing)}; left out")
            if known:
                run(name, source, known, nets, settings[name], options)
    write_results(options.out, options.out.parent / "RESULTS.md")


def run(
    name: str,
    source: str,
    units: list[Unit],
    nets: Any,
    settings: dict[str, Any],
    options: argparse.Namespace,
) -> None:
    """Measure what is missing, then write tables and figures and print the effects."""
    folders = []
    with tqdm(units, desc=f"{name}, {SOURCES[source]}", unit="unit") as bar:
        for unit in bar:
            bar.set_postfix_str(f"{', '.join(unit.nets)} {unit.what}, seed {unit.seed}")
            folders.append(measure(EXPERIMENTS[name], unit, nets, options.work))
    outcome = EXPERIMENTS[name].conclude(collect(units, folders, settings))
    write_outcome(options.out / source / name, outcome, units, folders)
    for effect in outcome.effects:
        row = effect.row()
        print(
            f"  {row['verdict']:14} {row['effect']}: {row['mean']:.4g}"
            f" [{row['95 % low']:.4g}, {row['95 % high']:.4g}], expected {row['expected']}"
        )


def write_outcome(folder: Path, outcome: Outcome, units: list[Unit], folders: list[Path]) -> None:
    """Tables as CSV, the figures, and what was measured."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "table": outcome.table,
        "effects": pd.DataFrame([e.row() for e in outcome.effects]),
        **outcome.more,
    }
    for kind, table in tables.items():
        table.to_csv(folder / f"{kind}.csv", index=False, float_format="%.7g")
    for kind, figure in outcome.figures.items():
        figure.savefig(folder / f"{figure_name(kind)}.png", dpi=80)
    measured = list(costs(folders))
    facts = {
        "nets": list(dict.fromkeys(net for unit in units for net in unit.nets)),
        "images": max(unit.n * (unit.seed + 1) for unit in units),
        "processor_seconds": round(sum(m["processor_seconds"] for m in measured)),
        **{key: measured[-1][key] for key in ("torch", "art_flat", "processor", "kernels")},
        "more": list(outcome.more), "figures": [figure_name(kind) for kind in outcome.figures],
    }  # fmt: skip
    (folder / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def figure_name(kind: str) -> str:
    """A figure's name as the name of a file."""
    return re.sub(r"[^\w∞]+", "-", kind).strip("-")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=["all", *EXPERIMENTS])
    parser.add_argument("--source", nargs="+", choices=list(SOURCES), default=list(SOURCES))
    parser.add_argument("--nets", type=Path, default=SHARED / "nets", help="weights of public nets")
    parser.add_argument("--weights", type=Path, default=HERE / "nets", help="weights of own nets")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--work", type=Path, default=HERE / "work", help="where measurements are kept")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="RESULTS.md goes beside it")
    parser.add_argument("--n", type=int, help="images per seed, instead of the settings'")
    return parser.parse_args()


if __name__ == "__main__":
    main()
