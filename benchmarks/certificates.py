"""Certified shares over balls of inputs against floors: python benchmarks/certificates.py [--only ROWS] [--data FOLDER]

One row per net and ball: the share of the first n test images whose loss certainly rises by at most ε, for ε = 0.1,
log 2 and 1 nats, by every kind of certificate; beside it the bound in feature space with a constant from the layers,
and what attacks leave. Attacked losses are computed in float64 at points projected into the ball in float64.
Every row runs in a process of its own and is stored in certificates.json when it is done, so that an interrupted run
resumes; delete a row there to measure it again. certificates.md and certificates.svg are written from the stored rows.
FOLDER holds mnist/, cifar10_genuine_subset.npz and nets/ with public weights; rows without their files are skipped.
"""

import argparse
import copy
import json
import math
import multiprocessing
import re
import resource
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from results_page import markdown

HERE = Path(__file__).resolve().parent
STORE, PAGE, FIGURE = HERE / "certificates.json", HERE / "certificates.md", HERE / "certificates.svg"
EPSILONS = {"0.1": 0.1, "log 2": math.log(2), "1": 1.0}
ATTACK = "art_flat:APGD(steps=100, restarts=2)"
CERTIFIED_NET = "mnist_cnn_certified"
CIFAR_A = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}
PUBLIC = {
    "mnist_wong_kolter_01": ("mnist", {}),
    "cifar_cnn_a_adversarial": ("cifar10", CIFAR_A),
}
"""Networks CNN A that others trained: their data and normalisation."""


@dataclass(frozen=True)
class Row:
    """What is measured: the first n test images in one ball."""

    net: str
    norm: str
    delta: float
    n: int
    floor: tuple[float, ...] = ()
    """Certified shares in % that have to be reached, one per ε."""
    cost: float = math.inf
    """Largest cost against a forward pass of the same batch in float64."""
    seconds: float = 0.0
    """Processor seconds of branching for every sample that is neither certified nor broken at some ε."""
    median: float = math.inf
    """Largest median of the bound, nats."""

    @property
    def name(self):
        return f"{self.net}, {ball(self)}, n = {self.n}" + (", branching" if self.seconds else "")


def ball(row):
    text = f"{row.delta:g}" if row.delta == round(row.delta, 2) else f"{255 * row.delta:g}/255"
    return f"{'L∞' if row.norm == 'Linf' else row.norm} {text}"


ROWS = [
    Row("mnist_fcn", "Linf", 1 / 255, 200, (98, 100, 100), 750),
    Row("mnist_fcn", "Linf", 2 / 255, 200, (95, 99, 100), 750),
    Row("mnist_fcn", "Linf", 8 / 255, 200, (49, 82, 87), 750),
    Row("mnist_fcn", "L2", 0.1, 200, (95, 99, 100), 750),
    Row("mnist_fcn", "L2", 0.25, 200, (85, 96, 98), 750),
    Row("mnist_fcn", "L2", 0.5, 200, (41, 72, 79), 750),
    Row("mnist_cnn", "Linf", 1 / 255, 100, (98, 100, 100), 400),
    Row("mnist_cnn", "Linf", 2 / 255, 100, (96, 99, 99), 400),
    Row("mnist_cnn", "Linf", 8 / 255, 100, (70, 88, 90), 1200),
    Row("mnist_cnn", "L2", 0.1, 100, (54, 78, 82)),
    Row("mnist_wong_kolter_01", "Linf", 0.1, 100, (84, 95, 97)),
    Row("cifar_cnn_a_adversarial", "Linf", 2 / 255, 100, (2, 44, 57)),
    Row(CERTIFIED_NET, "Linf", 0.1, 100),
    Row(CERTIFIED_NET, "Linf", 0.1, 1000),
    Row("mnist_fcn", "Linf", 8 / 255, 200, (65, 90, 93), seconds=10),
    *(Row("mnist_cnn", "Linf", d / 255, 50) for d in (0.5, 1, 2, 4, 8, 16)),
    *(Row(CERTIFIED_NET, "Linf", d, 50) for d in (0.02, 0.05, 0.1, 0.15, 0.2)),
    Row("resnet18_adversarial", "Linf", 1 / 255, 12, (40, 100, 100), median=0.11),
]


def load(net, data):
    """An adapted net, all its test images and labels.

    Raises:
        FileNotFoundError: If a file is missing; the message names it.
    """
    import art_flat as af
    from art_flat.cli.train import read_train_config
    from art_flat.models import build

    if net in PUBLIC:
        name, options = PUBLIC[net]
        shape = (1, 28, 28) if name == "mnist" else (3, 32, 32)
        weights = required(data / "nets" / f"{net}.safetensors")
        model = {"factory": "art_flat.models:cnn_a", "options": {"input_shape": shape}, **options}
    else:
        folder = HERE / ("certificates" if net == CERTIFIED_NET else "paper/nets")
        config, _ = read_train_config(folder / f"{net}.toml")
        name = "mnist" if config.test.name == "mnist" else "cifar10"
        weights = required(folder / net / "weights.safetensors")
        model = {"factory": config.model.factory, "options": config.model.options}
    if name == "mnist":
        test = af.load_dataset("mnist", root=required(data / "mnist"))
    else:
        test = af.load_dataset("npz", path=required(data / "cifar10_genuine_subset.npz"))
    classifier = build(**model, weights=weights, input_shape=test.x.shape[1:], nb_classes=10)
    return af.adapt(classifier), test


def required(path):
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not in {path.parent.name}/")
    return path


def measure(row, data):
    """Everything about one row, as JSON can hold it."""
    import torch

    torch.set_num_threads(1)
    net, test = load(row.net, data)
    x, y = test.x[: row.n], test.y[: row.n]
    net.bounds_in_ball(x[:1], y[:1], delta=row.delta, norm=row.norm, kind="interval")  # traces the net
    before = memory()
    bounds, seconds = {}, {}
    for kind in ("interval", "crown_interval", "crown"):
        started = time.process_time()
        bounds[kind] = net.loss_increase_in_ball(x, y, delta=row.delta, norm=row.norm, kind=kind)
        seconds[kind] = (time.process_time() - started) / row.n
    peak = memory() - before
    attacked = loss_increase(net, x, y, row)
    if row.seconds:
        started = time.process_time()
        bounds["branch"], n_branched = branched(net, x, y, row, bounds["crown"], attacked)
        seconds["branch"] = (time.process_time() - started) / max(1, n_branched)
    forward = forward_seconds(net, x)
    return {
        "certified %": {kind: shares(bound) for kind, bound in bounds.items()},
        "in feature space %": feature_space(net, x, y, row),
        "attacked %": shares(attacked),
        "largest attacked − certified": max(float((attacked - bound).max()) for bound in bounds.values()),
        "accuracy": float((net.predict(test.x) == test.y).mean()),  # on all test images
        "median": statistics.median_low(map(float, bounds["crown"])),  # as torch.median
        "CPU s an image": seconds,
        "forward passes": seconds["crown"] / forward,
        "MB above the loaded net": peak / 1e6,
    }


def memory():
    """Largest resident memory of the process so far, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def shares(increase):
    """Share of samples in % whose loss rises by at most each ε; NaN is above."""
    return {name: 100 * float((increase <= epsilon).mean()) for name, epsilon in EPSILONS.items()}


def loss_increase(net, x, y, row):
    """What the attack reaches, in float64 at points inside the ball."""
    import numpy as np
    from scipy.special import logsumexp

    from art_flat.attacks import load_attack

    found = load_attack(ATTACK)(net, x, y, delta=row.delta, norm=row.norm, seed=0).x
    clean = x.astype(np.float64)
    moved = found.astype(np.float64) - clean
    if row.norm == "Linf":
        moved = moved.clip(-row.delta, row.delta)
    else:
        length = np.sqrt((moved**2).sum(axis=tuple(range(1, x.ndim)), keepdims=True))
        moved *= np.minimum(1, row.delta / np.maximum(length, 1e-300))
    logits = wide_logits(net)
    ends = [
        logsumexp(z, axis=1) - z[np.arange(len(y)), y]
        for z in (logits((clean + moved).clip(0, 1)), logits(clean))
    ]
    return ends[0] - ends[1]


def wide_logits(net):
    """The net in float64, from arrays to arrays."""
    import torch

    module = copy.deepcopy(net.estimator.model).double().eval()
    steps = net.estimator.preprocessing_operations
    mean, std = (0.0, 1.0) if not steps else (torch.as_tensor(steps[0].mean), torch.as_tensor(steps[0].std))

    def logits(x):
        with torch.inference_mode():
            return module(((torch.as_tensor(x).double() - mean) / std).double()).numpy()

    return logits


def forward_seconds(net, x):
    """Processor seconds an image of a forward pass of the same batch in float64."""
    logits, passes = wide_logits(net), 0
    logits(x)
    started = time.process_time()
    while time.process_time() - started < 0.3:
        logits(x)
        passes += 1
    return (time.process_time() - started) / passes / len(x)


def branched(net, x, y, row, bound, attacked):
    """The bounds after branching on samples that are open at some ε, and their number."""
    bound, epsilons = bound.copy(), list(EPSILONS.values())
    is_open = [any(a <= e < b for e in epsilons) for a, b in zip(attacked, bound, strict=True)]
    for i in [i for i, still in enumerate(is_open) if still]:
        goal = next(e for e in epsilons if attacked[i] <= e)
        found = net.loss_increase_in_ball(
            x[i : i + 1], y[i : i + 1], delta=row.delta, norm=row.norm, kind="branch", seconds=row.seconds,
            enough=goal,
        )  # fmt: skip
        bound[i] = min(bound[i], found[0])
    return bound, sum(is_open)


def feature_space(net, x, y, row):
    """Shares certified by the bound in feature space, with a Lipschitz constant from the layers."""
    from art_flat.metrics import certified_loss_change_robustness

    constant = net.lipschitz(row.norm)
    return {
        name: 100 * certified_loss_change_robustness(
            net, x, y, delta=row.delta, epsilon=epsilon, norm=row.norm, lipschitz=constant
        )
        for name, epsilon in EPSILONS.items()
    }  # fmt: skip


def judged(row, found):
    """What is missed and by how much; empty if nothing is."""
    best = list(found["certified %"].values())[-1]
    missed = [
        f"{name}: {best[name]:.1f} < {floor:g}"
        for name, floor in zip(EPSILONS, row.floor, strict=False)
        if best[name] < floor
    ]
    if row.net == CERTIFIED_NET and row.delta == 0.1:
        gaps = {name: found["attacked %"][name] - best[name] for name in EPSILONS}
        missed += [
            f"{name}: {gap:.1f} points below the attacked share" for name, gap in gaps.items() if gap > 5
        ]
        missed += [f"accuracy {found['accuracy']:.3f} < 0.96"] if found["accuracy"] < 0.96 else []
    if found["largest attacked − certified"] > 1e-9:
        missed.append(f"an attack is {found['largest attacked − certified']:.2g} nats above a bound")
    if found["median"] > row.median:
        missed.append(f"median {found['median']:.3f} > {row.median:g} nats")
    if found["forward passes"] > row.cost:
        missed.append(f"cost {found['forward passes']:.0f} > {row.cost:g} forward passes")
    return missed


def page_row(row, found):
    text = {
        kind: "/".join(f"{v:.3g}" for v in values.values()) for kind, values in found["certified %"].items()
    }
    kinds = found["CPU s an image"]
    return {
        "net": row.net,
        "n": row.n,
        "ball": ball(row),
        "in feature space": "/".join(f"{v:.3g}" for v in found["in feature space %"].values()),
        "interval": text["interval"],
        "crown_interval": text["crown_interval"],
        "crown": text["crown"],
        "branch": text.get("branch", ""),
        "left by attacks": "/".join(f"{v:.3g}" for v in found["attacked %"].values()),
        "floor": "/".join(f"{v:g}" for v in row.floor),
        "missed": "; ".join(judged(row, found)),
        "CPU s an image": f"{kinds['crown']:.2g}" + (f", branch {kinds['branch']:.2g}" if "branch" in kinds else ""),
        "forward passes": f"{found['forward passes']:.0f}",
        "MB": f"{found['MB above the loaded net']:.0f}",
    }  # fmt: skip


def is_of_curve(row):
    return not row.floor and row.n == 50


def write_page(stored):
    done = [row for row in ROWS if key(row) in stored and "skipped" not in stored[key(row)]]
    skipped = [
        f"{row.name}: {stored[key(row)]['skipped']}" for row in ROWS if "skipped" in stored.get(key(row), {})
    ]
    missing = [row.name for row in ROWS if key(row) not in stored]
    parts = [
        "# Certificates over balls of inputs",
        __doc__.split("\n\n", 1)[1].split("\nEvery row")[0],
        "Shares in % for ε = 0.1/log 2/1 nats. Each kind includes the ones before it. Forward passes: cost of `crown` "
        "against a forward pass of the same batch in float64, one thread; MB: above what the loaded net takes.",
        markdown([page_row(row, stored[key(row)]) for row in done if not is_of_curve(row)]),
        f"Attack: `{ATTACK}`. `{CERTIFIED_NET}` is meant to be within 5 points of the attacked share at every ε and at "
        "an accuracy of at least 0.96 on all test images.",
        f"![Both ends of the bracket by δ]({FIGURE.name})" if FIGURE.exists() else "",
        *(f"Skipped: {text}." for text in skipped),
        f"Not measured yet: {'; '.join(missing)}." if missing else "",
    ]
    PAGE.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def draw(stored):
    """Certified and attacked share by δ, the two ends of the bracket, for ε = log 2."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    from art_flat.reporting._steps import known_points, open_area

    curves = {}
    for row in filter(is_of_curve, ROWS):
        if "attacked %" in (found := stored.get(key(row), {})):
            ends = (
                found["in feature space %"],
                found["certified %"]["interval"],
                found["certified %"]["crown"],
            )
            curves.setdefault(row.net, []).append(
                [row.delta, *(e["log 2"] for e in (*ends, found["attacked %"]))]
            )
    if not curves:
        return
    figure, panels = plt.subplots(
        1, len(curves), figsize=(4.2 * len(curves), 3.2), squeeze=False, sharey=True
    )
    for panel, (net, points) in zip(panels[0], curves.items(), strict=True):
        delta, features, interval, certified, attacked = zip(*sorted(points), strict=True)
        area, low, high = open_area(delta, attacked, certified, 100.0)
        panel.fill_between(area, low, high, color="0.9", label="not known")
        known = {
            "left by attacks": (attacked, "o-", "tab:red", "steps-post"),
            "certified: crown": (certified, "o-", "tab:blue", "steps-pre"),
            "certified: interval": (interval, "s--", "tab:cyan", "steps-pre"),
            "certified: in feature space": (features, "x:", "0.4", "steps-pre"),
        }
        for label, (values, style, color, steps) in known.items():
            corners = known_points(delta, values, 100.0)
            panel.plot(*corners, style, color=color, drawstyle=steps, label=label, markersize=4)
        panel.set(title=net, xlabel="δ (L∞, units of inputs)", ylim=(-3, 103))
    panels[0][0].set_ylabel("samples with Δℓ ≤ log 2 (%)")
    panels[0][-1].legend(fontsize=7, loc="lower left")
    figure.tight_layout()
    figure.savefig(FIGURE, metadata={"Date": None})


def key(row):
    return json.dumps({k: v for k, v in asdict(row).items() if k in {"net", "norm", "delta", "n", "seconds"}})


def measured(row, data):
    """A row from a process of its own, so that its memory is its own too."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        try:
            return pool.apply(measure, (row, data))
        except FileNotFoundError as error:
            return {"skipped": str(error)}


def stored():
    return json.loads(STORE.read_text())["rows"] if STORE.exists() else {}


def main(only, data):
    from art_flat.records.manifest import environment

    for row in [row for row in ROWS if re.search(only, row.name)]:
        if "attacked %" not in (found := stored().get(key(row), {})):
            found = measured(row, data)
            rows = {**stored(), key(row): found}  # read again: another process may have added rows
            STORE.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")
        print(f"{row.name}: " + (found.get("skipped") or f"{page_row(row, found)}"), flush=True)
    draw(stored())
    write_page(stored())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose name this regular expression matches")
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    arguments = parser.parse_args()
    main(arguments.only, arguments.data)
