"""The paper's experiments: python benchmarks/paper/run.py NAME|all [--data DIR] [--weights DIR] [--out DIR] [--n N]

Settings are in settings.toml. The nets beside this file are used as they are; `art-flat train` with the files in
nets/ makes them again. DIR of --data holds mnist/ and cifar10_genuine_subset.npz, or cifar10/ as torchvision leaves
it. For every experiment tables, its effects over seeds and figures go into --out, and all of it into RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import tomllib
import warnings
from pathlib import Path
from typing import Any

import torch
from experiments import EXPERIMENTS
from experiments.outcome import Case, Outcome
from page import write_results

import art_flat as af
from art_flat.datasets import Dataset, load_dataset
from art_flat.models import build

HERE = Path(__file__).resolve().parent


def load_images(name: str, root: Path) -> Dataset:
    """The test images of a data set, at most the first 1,000."""
    if name == "mnist":
        return load_dataset("mnist", root=root / "mnist", n=1000)
    if (root / "cifar10_genuine_subset.npz").is_file():
        return load_dataset("npz", path=root / "cifar10_genuine_subset.npz", n=1000)
    return load_dataset("cifar10", root=root / "cifar10", n=1000)


def load_case(name: str, net: dict[str, Any], data: dict[str, Dataset], weights: Path) -> Case:
    """A trained net with its test images."""
    images = data[net["data"]]
    classifier = build(
        net["factory"], weights=weights / name / "weights.safetensors", options=net.get("options"),
        input_shape=images.input_shape, nb_classes=10, clip_values=images.clip_values,
    )  # fmt: skip
    if net["data"] == "cifar10":
        _channels_last(classifier.model)
    return Case(name, af.adapt(classifier), images.x, images.y)


def _channels_last(model: torch.nn.Module) -> None:
    """Faster on CPUs; the first layer keeps its layout, because torchattacks reshapes the gradient of its input."""
    convolutions = [part for part in model.modules() if isinstance(part, torch.nn.Conv2d)]
    for part in convolutions[1:]:
        part.to(memory_format=torch.channels_last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="+", choices=["all", *EXPERIMENTS])
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--weights", type=Path, default=HERE / "nets")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--n", type=int, help="images per seed, instead of the settings'")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    settings = tomllib.loads((HERE / "settings.toml").read_text(encoding="utf-8"))
    names = list(EXPERIMENTS) if "all" in options.names else options.names
    data: dict[str, Dataset] = {}
    options.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        mine = settings[name] | ({"n": options.n} if options.n else {})
        nets = {n: settings["nets"][n] for n in mine["nets"]}
        cases = {}
        for net, described in nets.items():
            if not (options.weights / net / "weights.safetensors").is_file():
                print(f"{name}: no weights of {net}; left out")
                continue
            if described["data"] not in data:
                data[described["data"]] = load_images(described["data"], options.data)
            cases[net] = load_case(net, described, data, options.weights)
        began, processor = time.time(), time.process_time()
        outcome: Outcome = EXPERIMENTS[name](cases, mine)
        write_outcome(name, outcome, mine, options.out, time.process_time() - processor)
        print(f"{name}: {time.time() - began:.0f} s")
        for effect in outcome.effects:
            row = effect.row()
            print(f"  {row['verdict']:14} {row['effect']}: {row['mean']:.4g}"
                  f" [{row['95 % low']:.4g}, {row['95 % high']:.4g}], expected {row['expected']}")  # fmt: skip
    write_results(options.out, HERE / "RESULTS.md")


def write_outcome(name: str, outcome: Outcome, settings: dict[str, Any], out: Path, seconds: float) -> None:
    """Tables as CSV, the figures, and what was set."""
    import pandas as pd

    outcome.table.to_csv(out / f"{name}.csv", index=False)
    pd.DataFrame([e.row() for e in outcome.effects]).to_csv(out / f"{name}-effects.csv", index=False)
    for kind, table in outcome.more.items():
        table.to_csv(out / f"{name}-{kind}.csv", index=False)
    for kind, figure in outcome.figures.items():
        figure.savefig(out / f"{name}-{kind}.png", dpi=80)
    facts = {
        "settings": settings, "processor_seconds": round(seconds, 1), "torch": torch.__version__,
        "art_flat": af.__version__, "processor": platform.machine(), "more": list(outcome.more),
        "figures": list(outcome.figures),
    }  # fmt: skip
    (out / f"{name}.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
