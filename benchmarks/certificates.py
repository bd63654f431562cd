"""What the certificates are worth on MNIST: python benchmarks/certificates.py [ROOT]

Five tables, written to certificates.json and certificates.md beside this file:
1. certified ≤ truth ≤ empirical share of (δ, log 2)-robust samples, the tightness of the bound at the measured
   feature shift, and how often the paper's bound is exceeded;
2. by how much the paper's bound is exceeded, at which δ;
3. feature_radius against the smallest feature shift that a multi-start search needs, at ε = log 2;
4. Lipschitz constants against the largest Jacobian seen, and the input radii that they certify;
5. the time that radii take.
ROOT is the folder with MNIST/raw in it. The nets are trained first, a minute on two cores; `decayed` is the same FCN
trained with a stronger weight decay, which certificates reward.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch

import art_flat as af
from art_flat.functional import SOUND_BOUND_KINDS, feature_radius, loss_increase_bound
from art_flat.metrics import input_radius
from art_flat.models import as_classifier, fcn, mnist_cnn
from art_flat.records.manifest import environment
from art_flat.training import train

HERE = Path(__file__).resolve().parent
EPSILON = math.log(2)
DELTAS = {"L2": [0.1, 0.2, 0.5], "Linf": [2 / 255, 8 / 255]}
ATTACKS = ["art_flat:APGD(steps=50, restarts=2)", "art_flat:PGD(steps=50)", "art:DeepFool"]
NETS = {
    "fcn": (fcn, {"epochs": 4}),
    "decayed": (fcn, {"epochs": 8, "weight_decay": 5e-3}),
    "cnn": (mnist_cnn, {"epochs": 2}),
}


def brackets(nets, test):
    results = af.evaluate(nets, test.x, test.y, attacks=ATTACKS, deltas=DELTAS, epsilons=[EPSILON])
    summary = results.summary()
    worst = summary[summary["attack"] == af.evaluation.ALL_ATTACKS]
    names = {
        "model": "model",
        "norm": "norm",
        "delta": "delta",
        "accuracy": "accuracy",
        "certified_accuracy": "certified accuracy",
        "robust_accuracy": "robust accuracy",
        f"certified@{EPSILON:g}": "certified",
        f"loss_change_robustness@{EPSILON:g}": "empirical",
        "bound_tightness": "increase / bound",
        "bound_violations": "violations",
        "paper_bound_exceeded": "paper's bound exceeded",
    }
    return worst[list(names)].rename(columns=names).to_dict("records"), exceeded(results)


def exceeded(results):
    """By how much the paper's bound at the measured feature shift is exceeded, per norm and δ of the attack."""
    records = results.records().merge(
        results.models[["model", "weight_norm", "nb_classes", "nb_features"]], on="model"
    )
    records = records[records["delta"].notna() & (records["feature_shift"] > 0)]
    relative = records["feature_shift"] / records["feature_norm_clean"]
    bound = relative**2 / 2 * records["kappa_clean"]
    bound += relative**3 * records["nb_classes"] * records["nb_features"] / 24
    records = records.assign(over=records["loss_change"] / bound)
    rows = []
    for (model, norm, delta), part in records.groupby(["model", "norm", "delta"], sort=False):
        over = part["over"][part["over"] > 1]
        largest = float(over.max()) if len(over) else 1.0
        rows.append(
            {
                "model": model,
                "norm": norm,
                "delta": delta,
                "share exceeded": len(over) / len(part),
                "largest factor": largest,
            }
        )
    return rows


def speed():
    """Processor time of 10,000 radii."""
    rows = []
    for k, d in ((10, 128), (1000, 2048)):
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(10_000, d, generator=generator).abs()
        weight = torch.randn(k, d, generator=generator) / d**0.5
        logits = features @ weight.T
        labels = logits.argmax(1)
        for kind in ("lse", "chord", "best"):
            started = time.process_time()
            feature_radius(logits, features, weight, labels, epsilon=EPSILON, kind=kind)
            seconds = time.process_time() - started
            rows.append({"k": k, "d": d, "kind": kind, "processor s per 10,000": seconds})
    return rows


def largest_increase(logits, weight, labels, t, steps=40):
    """The largest loss increase within a feature shift of t that a multi-start search finds; a lower estimate.

    On the sphere of radius t the loss log Σ_j exp(z_j − z_y + ⟨w_j − w_y, v⟩) is convex in v, so v ← t ∇/‖∇‖ never
    lowers it. Starts: every other class's direction w_j − w_y. Everything depends on v by ⟨u_i, v⟩, v = Σ a_j u_j,
    so the products ⟨u_i, u_j⟩ are enough.
    """
    u = weight[None] - weight[labels][:, None]  # (n, k, d)
    products = u @ u.transpose(1, 2)
    log_p = logits.log_softmax(1)[:, None]
    shares = torch.eye(logits.shape[1], dtype=logits.dtype).expand(len(t), -1, -1)  # one start for each class
    for _ in range(steps + 1):
        pull = shares @ products
        length = (pull * shares).sum(2, keepdim=True).clamp_min(1e-300).sqrt()
        moved = log_p + t[:, None, None] * pull / length
        shares = moved.softmax(2)
    return moved.logsumexp(2).amax(1)


def search_radius(logits, weight, labels, near, halvings=20):
    """The smallest feature shift at which the search raises the loss by ε, between half and 1.6 times `near`."""
    low, high = near / 2, near * 1.6
    for _ in range(halvings):
        t = (low + high) / 2
        reached = largest_increase(logits, weight, labels, t) >= EPSILON
        high, low = torch.where(reached, t, high), torch.where(reached, low, t)
    return high


def radii(name, net, test):
    out = net.outputs(test.x)
    logits, features, weight = out.logits.double(), out.features.double(), net.head.weight.double()
    labels = torch.as_tensor(test.y)
    best = feature_radius(logits, features, weight, labels, epsilon=EPSILON)
    true = search_radius(logits, weight, labels, best)
    rows = []
    for kind in SOUND_BOUND_KINDS:
        ratio = feature_radius(logits, features, weight, labels, epsilon=EPSILON, kind=kind) / true
        t = true * 0.9
        worst = loss_increase_bound(logits, features, weight, labels, radius=t, kind=kind)
        rows.append(
            {
                "model": name,
                "kind": kind,
                "radius / true, median": float(ratio.median()),
                "5 %": float(ratio.quantile(0.05)),
                "1 %": float(ratio.quantile(0.01)),
                "largest": float(ratio.max()),
                "bound / worst case, median": float(
                    (worst / largest_increase(logits, weight, labels, t)).median()
                ),
            }
        )
    return rows


def constants(name, net, test):
    spectral = net.lipschitz("L2").value
    seen = net.lipschitz("L2", kind="empirical", points=test.x[:100]).value
    radius = {norm: input_radius(net, test.x, test.y, EPSILON, norm=norm) for norm in ("L2", "Linf")}
    return {
        "model": name,
        "accuracy": float((net.predict(test.x) == test.y).mean()),
        "L": spectral,
        "largest Jacobian seen": seen,
        "ratio": spectral / seen,
        "median certified L2 radius": float(np.median(radius["L2"])),
        "median certified L∞ radius": float(np.median(radius["Linf"])),
    }


def markdown(rows):
    def text(value):
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join(lines + ["| " + " | ".join(map(text, row.values())) + " |" for row in rows])


def main(root):
    data, test = (
        af.load_dataset("mnist", root=root, split="train"),
        af.load_dataset("mnist", root=root, n=1000),
    )
    nets = {}
    for name, (make, options) in NETS.items():
        model = train(make(), data.x, data.y, seed=0, **options)
        nets[name] = af.adapt(as_classifier(model, input_shape=(1, 28, 28), nb_classes=10))
    shares, over = brackets(nets, test)
    tables = {
        "Certified and empirical share of (δ, log 2)-robust samples, 1,000 MNIST test images": shares,
        "Points whose measured increase exceeds the paper's bound, and the largest factor": over,
        "feature_radius at ε = log 2 over the radius a search needs; bound over worst case at 0.9 of that radius": [
            row for name, net in nets.items() for row in radii(name, net, test)
        ],
        "Lipschitz constants L of the features in L2, and what is certified by them at ε = log 2": [
            constants(name, net, test) for name, net in nets.items()
        ],
        "Time of feature_radius": speed(),
    }
    (HERE / "certificates.json").write_text(
        json.dumps({"environment": environment(), **tables}, indent=1) + "\n"
    )
    text = "\n\n".join(f"**{title}**\n\n{markdown(rows)}" for title, rows in tables.items())
    (HERE / "certificates.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "shared" / "data" / "mnist")
