"""Every attack of both libraries on one MNIST CNN: python benchmarks/attack_suite.py [ROOT] [SECONDS]

Each attack runs in every norm it supports on as many of the first 1,000 test images as its own speed allows within
SECONDS (default 25), found by a first run on 8 images; the table says how many. What is refused stands in it with the
reason. Writes attack_suite.json and attack_suite.md beside this file. ROOT is the folder with MNIST/raw in it; the CNN
is trained first unless mnist/train.py has left its weights.
"""

import json
import math
import signal
import sys
import time
from pathlib import Path

import torch

import art_flat as af
from art_flat._errors import ArtFlatError
from art_flat.evaluation.store import environment
from art_flat.models import as_classifier, load_weights, mnist_cnn
from art_flat.training import train

HERE = Path(__file__).resolve().parent
DELTAS = {"Linf": 0.1, "L2": 1.5, "L1": 10.0, "L0": 25.0}
EPSILON = 0.1
PROBE = 8


class TooSlow(BaseException):  # evaluate() records exceptions and goes on
    pass


def alarm(*_):
    raise TooSlow


def run(net, test, attack, norm, n):
    results = af.evaluate(
        {"cnn": net},
        test.x[:n],
        test.y[:n],
        attacks=[attack],
        deltas={norm: [DELTAS[norm]]},
        epsilons=[EPSILON],
        lipschitz=None,
    )
    return results, results.summary().iloc[0]


def row(net, test, info, norm, seconds):
    base = {"attack": info.name, "norm": norm, "budget": info.budget, "usable": info.usability}
    if info.usability == "refused":
        return {**base, "note": info.reason}
    try:
        attack = info.build()
        attack.check(net, norm)
    except ArtFlatError as error:
        return {**base, "usable": "refused", "note": str(error)}
    signal.signal(signal.SIGALRM, alarm)
    signal.alarm(int(4 * seconds))
    n = PROBE
    try:
        started = time.perf_counter()
        results, cell = run(net, test, attack, norm, n)
        spent = time.perf_counter() - started
        larger = min(1000, int(n * seconds / max(spent, 1e-3)))
        if larger >= 2 * n and cell["n_failed"] < n:
            signal.alarm(int(6 * seconds))
            results, cell = run(net, test, attack, norm, larger)
            n = larger
    except (TooSlow, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return {**base, "n": n, "note": f"more than {4 * seconds:.0f} s"}
    finally:
        signal.alarm(0)
    failures = results.failures()
    note = info.reason if failures.empty else "; ".join(failures["error"].astype(str).unique())
    return {
        **base,
        "n": n,
        "δ": DELTAS[norm],
        "s": cell["seconds"],
        "forwards": cell["forwards"],
        "robust accuracy": cell["robust_accuracy"],
        f"Δℓ ≤ {EPSILON}": cell[f"loss_change_robustness@{EPSILON:g}"],
        "maximises loss": bool(cell["maximises_loss"]),
        "fallback": cell["fallback"],
        "κ ratio": cell["flatness_ratio"],
        "flatter": cell["flat_fraction"],
        "failed": int(cell["n_failed"]),
        "note": note,
    }


def markdown(rows):
    columns = list(max(rows, key=len))

    def text(value):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "–"
        if isinstance(value, bool):
            return "yes" if value else ""
        return (
            f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")
        )

    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(text(r.get(c, "")) for c in columns) + " |" for r in rows])


def main(root, seconds):
    test = af.load_dataset("mnist", root=root, n=1000)
    model, weights = mnist_cnn(), HERE / "mnist" / "cnn.safetensors"
    if weights.exists():
        load_weights(model, weights)
    else:
        data = af.load_dataset("mnist", root=root, split="train")
        train(model, data.x, data.y, epochs=2, seed=0)
    net = af.adapt(as_classifier(model.eval(), input_shape=(1, 28, 28), nb_classes=10))
    rows = []
    for info in af.list_attacks().values():
        norms = info.norms if info.budget == "fixed" and info.usability != "refused" else info.norms[:1]
        for norm in norms:
            rows.append(row(net, test, info, norm, seconds))
            print(json.dumps(rows[-1], default=str, ensure_ascii=False), flush=True)
            facts = {"environment": environment(), "threads": torch.get_num_threads(), "rows": rows}
            (HERE / "attack_suite.json").write_text(json.dumps(facts, indent=1, default=float) + "\n")
            (HERE / "attack_suite.md").write_text(markdown(rows) + "\n")


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv[1:]))
    default = HERE.parents[1] / "shared" / "data" / "mnist"
    main(Path(arguments.get(0, default)), float(arguments.get(1, 25)))
