"""Robust accuracy of the suite `standard` against AutoAttack itself: python benchmarks/autoattack.py [--data FOLDER]

AutoAttack is torchattacks' class with version="standard" and the published number of steps, 100, called on a plain
torch network; `standard` has the same four attacks, run by `evaluate`. The figures are stored in autoattack.json, and
the section `autoattack` of RESULTS.md is written from them. FOLDER holds mnist/, cifar10_genuine_subset.npz and nets/.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import torch
from results_page import HERE, markdown, section
from strength import NETS, load

STORE = HERE / "autoattack.json"
RADII = {"mnist_wong_kolter_03": 0.3, "cifar_cnn_a_adversarial": 4 / 255}
N, SEED = 48, 0


class Plain(torch.nn.Module):
    """The network of a public file on inputs in [0, 1], made without art_flat's adapters."""

    def __init__(self, name, shape, data):
        super().__init__()
        from art_flat import models

        net = NETS[name]
        self.network = models.load_weights(models.cnn_a(shape), data / "nets" / f"{name}.safetensors").eval()
        for key, none in (("mean", 0.0), ("std", 1.0)):
            value = torch.tensor(net.normalisation.get(key, [none])).reshape(1, -1, 1, 1)
            self.register_buffer(key, value)

    def forward(self, x):
        return self.network((x - self.mean) / self.std)


def theirs(module, x, y, delta):
    """Whether each sample is right after AutoAttack, and the seconds."""
    import torchattacks

    started = time.process_time()
    attack = torchattacks.AutoAttack(
        module, norm="Linf", eps=delta, version="standard", n_classes=10, seed=SEED
    )
    for inner in attack._autoattack.attacks:  # the library leaves them at its own default of 10 steps
        if hasattr(inner, "steps"):
            inner.steps = 100
    points = attack(x, y)
    assert float((points - x).abs().max()) <= delta * (1 + 1e-5)
    with torch.no_grad():
        return (module(points).argmax(1) == y).numpy(), time.process_time() - started


def ours(net, x, y, delta):
    """The same after `standard`, without the loss maximiser that AutoAttack does not have."""
    import art_flat as af
    from art_flat.attacks import load_attacks

    attacks = [attack for attack in load_attacks("standard") if " @standard." in attack.name]
    started = time.process_time()
    results = af.evaluate(
        net, x, y, attacks=attacks, deltas={"Linf": [delta]}, epsilons=[0.1], seed=SEED, certify=None, progress=False
    )  # fmt: skip
    seconds = time.process_time() - started
    rows = results.clean.set_index("sample")
    hit = results.adversarial
    wrong = hit[
        (hit["status"] == "ok")
        & (hit["linf"] <= delta * (1 + 1e-6))
        & (hit["pred"] != rows["label"].reindex(hit["sample"]).to_numpy())
    ]
    right = (rows["pred"] == rows["label"]) & ~rows.index.isin(wrong["sample"])
    return right.to_numpy(bool), seconds


def rows(data):
    for name, delta in RADII.items():
        net, x, y = load(name, data)
        x, y = x[:N], y[:N]
        module = Plain(name, x.shape[1:], data)
        direct, their_seconds = theirs(module, torch.tensor(x), torch.tensor(y), delta)
        suite, our_seconds = ours(net, x, y, delta)
        yield {
            "net": name, "δ": f"{delta:.4g}", "samples": N, "accuracy": float((net.predict(x) == y).mean()),
            "AutoAttack": float(direct.mean()), "standard": float(suite.mean()),
            "samples that differ": int((direct != suite).sum()),
            "processor time of standard / AutoAttack": our_seconds / their_seconds,
        }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    data = parser.parse_args().data
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    found = list(rows(data))
    STORE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = (
        "Written by `python benchmarks/autoattack.py`: robust accuracy in L∞ after AutoAttack, called directly with "
        "the published 100 steps, and after the same four attacks in the suite `standard`. The random draws differ: "
        "`evaluate` seeds every step."
    )
    section("autoattack", "\n\n".join(["## AutoAttack and the suite `standard`", text, markdown(found)]))


if __name__ == "__main__":
    main()
