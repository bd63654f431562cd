"""What the certificates are worth on MNIST: python benchmarks/certificates.py [ROOT]

Five tables, written to certificates.json and certificates.md beside this file:
1. certified ≤ truth ≤ empirical share of (δ, log 2)-robust samples, the tightness of the bound at the measured
   feature shift, and how often the paper's bound is exceeded;
2. feature_radius against the smallest feature shift that a multi-start search needs, at ε = log 2;
3. Lipschitz constants against the largest Jacobian seen; 4. by how much the paper's bound is exceeded, at which δ;
5. the time that radii take.
ROOT is the folder with MNIST/raw in it. The nets are trained first, a minute on two cores; `decayed` is the same FCN
trained with a stronger weight decay, which certificates reward.
"""

import json
import math
import sys
import time
from pathlib import Path

import torch

import art_flat as af
from art_flat.evaluation.store import environment
from art_flat.functional import feature_radius
from art_flat.models import as_classifier, fcn, mnist_cnn
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
    """Seconds for 10,000 radii by the LSE bound, on the threads in use."""
    rows = []
    for k, d in ((10, 128), (1000, 2048)):
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(10_000, d, generator=generator).abs()
        weight = torch.randn(k, d, generator=generator) / d**0.5
        logits = features @ weight.T
        labels = logits.argmax(1)
        started = time.perf_counter()
        feature_radius(logits, features, weight, labels, epsilon=EPSILON, kind="lse")
        rows.append(
            {
                "k": k,
                "d": d,
                "s per 10,000": time.perf_counter() - started,
                "threads": torch.get_num_threads(),
            }
        )
    return rows


def search_radius(logits, weight, labels, n_starts=9, steps=100, halvings=25):
    """The smallest feature shift at which a multi-start gradient search raises the loss by ε; an upper estimate.

    On the sphere of radius t the loss log Σ_j exp(z_j − z_y + ⟨w_j − w_y, v⟩) is convex in v, so v ← t ∇/‖∇‖ never
    lowers it. Starts: every other class's direction w_j − w_y.
    """
    u = weight[None] - weight[labels][:, None]  # (n, k, d)
    gap = logits - logits.gather(1, labels[:, None])
    starts = torch.topk(gap.scatter(1, labels[:, None], -torch.inf), min(n_starts, gap.shape[1] - 1)).indices
    base = gap.logsumexp(1)
    low, high = (
        torch.zeros(len(labels), dtype=torch.float64),
        torch.full((len(labels),), 1e3, dtype=torch.float64),
    )
    for _ in range(halvings + 15):
        t = (low + high) / 2
        best = torch.full_like(t, -torch.inf)
        for s in range(starts.shape[1]):
            v = u[torch.arange(len(labels)), starts[:, s]]
            v = t[:, None] * v / v.norm(dim=1, keepdim=True).clamp_min(1e-300)
            for _ in range(steps):
                p = torch.softmax(gap + torch.einsum("nkd,nd->nk", u, v), 1)
                grad = torch.einsum("nk,nkd->nd", p, u)
                v = t[:, None] * grad / grad.norm(dim=1, keepdim=True).clamp_min(1e-300)
            rise = (gap + torch.einsum("nkd,nd->nk", u, v)).logsumexp(1) - base
            best = torch.maximum(best, rise)
        reached = best >= EPSILON
        high, low = torch.where(reached, t, high), torch.where(reached, low, t)
    return high


def radii(name, net, test, n=200):
    out = net.outputs(test.x[:n])
    logits, features, weight = out.logits.double(), out.features.double(), net.head.weight.double()
    labels = torch.as_tensor(test.y[:n])
    true = search_radius(logits, weight, labels)
    rows = []
    for kind in ("best", "chord", "lse", "quadratic", "flatness", "flatness_neuronwise"):
        ratio = feature_radius(logits, features, weight, labels, epsilon=EPSILON, kind=kind) / true
        low, median = ratio.quantile(0.05), ratio.median()
        rows.append(
            {
                "model": name,
                "kind": kind,
                "median": float(median),
                "5 %": float(low),
                "largest": float(ratio.max()),
            }
        )
    return rows


def constants(name, net, test):
    spectral = net.lipschitz("L2").value
    seen = net.lipschitz("L2", kind="empirical", points=test.x[:100]).value
    return {"model": name, "spectral": spectral, "largest Jacobian seen": seen, "ratio": spectral / seen}


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
        "feature_radius over the radius that a search needs, ε = log 2, 200 images": [
            row for name, net in nets.items() for row in radii(name, net, test)
        ],
        "Lipschitz constants of the features, L2": [constants(name, net, test) for name, net in nets.items()],
        "feature_radius by the LSE bound": speed(),
    }
    (HERE / "certificates.json").write_text(
        json.dumps({"environment": environment(), **tables}, indent=1) + "\n"
    )
    text = "\n\n".join(f"**{title}**\n\n{markdown(rows)}" for title, rows in tables.items())
    (HERE / "certificates.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "shared" / "data" / "mnist")
