"""Strength per gradient evaluation: python benchmarks/strength.py [--data FOLDER] [--only NET] [--minutes M]

Every attack here that maximises the loss in a ball, of every library, on six public nets, in L∞ and L2, with 20 and
with 100 gradient evaluations per sample: how far it raises the loss, what share of samples it leaves (δ,ε)-robust, and
robust accuracy. Each seed has its own test images. Attacks that take several gradients per step get fewer steps, and
the passes in the table are counted, not assumed. Results are stored in strength.json call by call, so that an
interrupted run resumes, and the section `strength` of RESULTS.md is written from what is stored. FOLDER holds mnist/,
cifar10_genuine_subset.npz and nets/.
"""

import argparse
import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from results_page import markdown, section

HERE = Path(__file__).resolve().parent
STORE = HERE / "strength.json"
BUDGETS = (20, 100)
SEEDS = 3
EPSILONS = (0.01, 0.1, 1.0)
OURS = "art_flat:APGD"
EXTRA = {
    "torchattacks:APGD": {"loss": "ce"},
    "art:AutoProjectedGradientDescent": {"nb_random_init": 1},
}
"""Attacks that maximise the loss with these parameters only."""
GRADIENTS = {"torchattacks:EOTPGD": 2, "torchattacks:VMIFGSM": 6, "torchattacks:VNIFGSM": 6}
"""Gradients per step of attacks that take more than one."""
STEPS = ("steps", "max_iter", "num_iter_set")
"""What the libraries call the number of steps."""
CIFAR = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}
HALF = {"mean": [0.485, 0.456, 0.406], "std": [0.225, 0.225, 0.225]}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@dataclass(frozen=True)
class Net:
    """A public net, its data and the radii at which its robustness is in question."""

    factory: str
    data: str
    normalisation: dict
    radii: dict
    trained: str
    n: int = 16
    weights: str = ""
    """Name of the file, if not that of the net."""


NETS = {
    "mnist_conv_small": Net("conv_small", "mnist", {"mean": [0.1307], "std": [0.3081]},
                            {"Linf": 0.1, "L2": 1.5}, "plainly"),
    "mnist_cnn_a_adversarial": Net("cnn_a", "mnist", {}, {"Linf": 0.3, "L2": 2.0}, "adversarially"),
    "mnist_wong_kolter_03": Net("cnn_a", "mnist", {}, {"Linf": 0.3, "L2": 2.0}, "certifiably"),
    "resnet20": Net("cifar_resnet20", "cifar10", IMAGENET, {"Linf": 1 / 255, "L2": 0.1}, "plainly", 8),
    "resnet20 at 8/255": Net("cifar_resnet20", "cifar10", IMAGENET, {"Linf": 8 / 255}, "plainly", 8, "resnet20"),
    "cifar_cnn_a_adversarial": Net("cnn_a", "cifar10", CIFAR, {"Linf": 4 / 255, "L2": 0.5}, "adversarially"),
    "cifar_wong_kolter_8": Net("cnn_a", "cifar10", HALF, {"Linf": 8 / 255, "L2": 0.5}, "certifiably"),
}  # fmt: skip


def load(name, data):
    """An adapted net and its first test images, as many as all seeds take.

    Raises:
        FileNotFoundError: If a file is missing.
    """
    import art_flat as af
    from art_flat.models import build

    net = NETS[name]
    weights = data / "nets" / f"{net.weights or name}.safetensors"
    source = data / ("mnist" if net.data == "mnist" else "cifar10_genuine_subset.npz")
    for path in (weights, source):
        if not path.exists():
            raise FileNotFoundError(path)
    n = net.n * SEEDS
    test = (
        af.load_dataset("mnist", root=source, n=n)
        if net.data == "mnist"
        else af.load_dataset("npz", path=source, n=n)
    )
    shape = test.x.shape[1:]
    options = {"input_shape": shape} if net.factory in {"cnn_a", "conv_small"} else None
    classifier = build(
        f"art_flat.models:{net.factory}", weights=weights, options=options, input_shape=shape, nb_classes=10,
        **net.normalisation,
    )  # fmt: skip
    return af.adapt(classifier), test.x, test.y


def attacks(norm, budget):
    """Every attack that maximises the loss in this norm in steps, with this number of gradients."""
    import art_flat as af

    for name, info in af.list_attacks().items():
        if (
            norm not in info.norms
            or info.usability == "refused"
            or not (info.maximises_loss or name in EXTRA)
        ):
            continue
        steps = next((key for key in STEPS if key in info.defaults), None)
        if steps is not None:
            params = {steps: max(1, budget // GRADIENTS.get(name, 1)), **EXTRA.get(name, {})}
            yield name, af.load_attack(name, **params)


def measure(attack, net, x, y, **ball):
    """Loss increases, predictions and passes of one call, as JSON can hold them."""
    result = attack(net, x, y, **ball)
    inside = result.distance <= ball["delta"] * (1 + 1e-6)
    increase = np.where(inside, net.loss(result.x, y) - net.loss(x, y), 0.0)
    right = (net.predict(x) == y) & ~(result.success & inside)
    return {
        "increase": [float(f"{max(0.0, value):.5g}") for value in increase],
        "robust": [bool(value) for value in right],
        "gradients": float(result.backwards),
        "forwards": float(result.forwards),
    }


def run(data, names, store, deadline):
    """Everything that is not stored yet, until the deadline."""
    calls = [
        (name, norm, budget, seed)
        for seed in range(SEEDS) for budget in BUDGETS for name in names for norm in NETS[name].radii
    ]  # fmt: skip
    loaded = {}
    for done, (name, norm, budget, seed) in enumerate(calls):
        if name not in loaded:
            try:
                loaded[name] = load(name, data)
            except FileNotFoundError as error:
                print(f"{name}: {error} is missing; left out", flush=True)
                loaded[name] = None
        if loaded[name] is None:
            continue
        net, x, y = loaded[name]
        block = slice(seed * NETS[name].n, (seed + 1) * NETS[name].n)
        for short, attack in attacks(norm, budget):
            key = "|".join([name, norm, str(budget), short, str(seed)])
            if key in store:
                continue
            if time.process_time() > deadline:
                return
            store[key] = call(
                attack, net, x[block], y[block], delta=NETS[name].radii[norm], norm=norm, seed=seed
            )
        save(store)
        print(f"{done + 1}/{len(calls)}: {name}, {norm}, {budget} gradients, seed {seed}", flush=True)


def call(attack, net, x, y, **ball):
    """The measurements, or the error of the library."""
    try:
        return measure(attack, net, x, y, **ball)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def save(store):
    text = json.dumps(store, indent=0, separators=(",", ":"), sort_keys=True)
    temporary = STORE.with_suffix(".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(STORE)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--only", choices=list(NETS), action="append")
    parser.add_argument("--minutes", type=float, default=40.0, help="processor time of this call")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    store = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
    run(options.data, options.only or list(NETS), store, 60 * options.minutes)
    save(store)
    if store:
        section("strength", page(store))


def page(store):
    """The section of RESULTS.md: our attack against the best other one, and every attack."""
    calls = table(store)
    failed = sorted({key.split("|")[3] for key, value in store.items() if "error" in value})
    parts = [
        "## Strength per gradient evaluation",
        "Written by `python benchmarks/strength.py`. Loss increases are in nats, over all samples, those that are "
        "misclassified before the attack too; the interval is the 95 % interval of the mean difference over samples, "
        f"those of up to {SEEDS} seeds. An attack gets the radius, the number of gradients and its library's "
        "default step. Cells with fewer samples, and those that are missing, are not finished: the script "
        "continues where it was stopped. APGD of torchattacks and ART stop at the first wrong prediction.",
        markdown(list(against_best(calls))),
    ]
    for (norm, budget), part in calls.groupby(["norm", "budget"], sort=False):
        parts += [
            f"Mean loss increase · robust accuracy, {norm}, {budget} gradients:",
            markdown(list(every_attack(part))),
        ]
    if failed:
        parts.append("Not run, since the library raises an error: " + ", ".join(failed) + ".")
    return "\n\n".join(parts)


def table(store):
    """One row per call, without those that failed."""
    rows = []
    for key, value in store.items():
        net, norm, budget, attack, seed = key.split("|")
        if "error" not in value:
            rows.append(
                {
                    "net": net,
                    "norm": norm,
                    "budget": int(budget),
                    "attack": attack,
                    "seed": int(seed),
                    **value,
                }
            )
    rows.sort(
        key=lambda row: (list(NETS).index(row["net"]), row["norm"] != "Linf", row["budget"], row["attack"])
    )
    return pd.DataFrame(rows)


def together(calls, column):
    """Values of all samples of all seeds, in the order of the seeds."""
    return np.concatenate(calls.sort_values("seed")[column].tolist()).astype(float)


def against_best(calls):
    """Per net, norm and number of gradients, our attack and the best other one on the same samples."""
    for (net, norm, budget), cell in calls.groupby(["net", "norm", "budget"], sort=False):
        ours = cell[cell["attack"] == OURS]
        seeds = set(ours["seed"])
        others = {
            name: part[part["seed"].isin(seeds)]
            for name, part in cell.groupby("attack")
            if name != OURS and seeds and seeds <= set(part["seed"])
        }
        if not others:
            continue
        best = max(others, key=lambda name: together(others[name], "increase").mean())
        mine, theirs = together(ours, "increase"), together(others[best], "increase")
        difference = mine - theirs
        half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
        robust, lowest = (
            together(ours, "robust"),
            min(others.values(), key=lambda c: together(c, "robust").mean()),
        )
        lost = robust - together(lowest, "robust")
        yield {
            "net": net, "trained": NETS[net].trained, "norm": norm, "δ": f"{NETS[net].radii[norm]:.4g}",
            "gradients": budget, "samples": len(mine), "mean": mine.mean(), "median": float(np.median(mine)),
            **{f"Δℓ ≤ {epsilon:g}": (mine <= epsilon).mean() for epsilon in EPSILONS},
            "robust accuracy": robust.mean(), "best other in the mean": best, "its mean": theirs.mean(),
            "difference": f"{difference.mean():+.3g} ± {half:.2g}",
            "lowest robust accuracy of another": robust.mean() - lost.mean(),
            "passes": f"{ours['gradients'].mean():.0f}",
            "best or within noise": bool(
                difference.mean() + half >= 0 and lost.mean() <= 1.96 * lost.std(ddof=1) / np.sqrt(len(lost))
            ),
        }  # fmt: skip


def every_attack(calls):
    """Per attack a column for every net, and the gradients and forward passes that it took per sample."""
    for attack, part in sorted(
        calls.groupby("attack"), key=lambda item: -item[1]["increase"].map(np.mean).mean()
    ):
        row = {"attack": attack}
        for net in dict.fromkeys(calls["net"]):
            cell = part[part["net"] == net]
            if len(cell):
                increase, robust = together(cell, "increase").mean(), together(cell, "robust").mean()
                row[net] = f"{increase:.3g} · {robust:.2f}"
        yield row | {
            "gradients": f"{part['gradients'].mean():.0f}", "forward passes": f"{part['forwards'].mean():.0f}"
        }  # fmt: skip


if __name__ == "__main__":
    main()
