"""The same attack from different libraries, at the same settings: python benchmarks/agreement.py CONFIG OUT

CONFIG is a file as `art-flat run` takes it; its model and data are used, not its attacks: `benchmarks/mnist/suite.toml`
for the MNIST CNN. The records are in OUT; the same command goes on from there. Writes a section of RESULTS.md and
agreement-NAME.json.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
from results_page import HERE, markdown, section

import art_flat as af
from art_flat.cli.config import read_config
from art_flat.cli.run import load_data, load_model
from art_flat.records.manifest import environment

# name, norm, radius in units of the clip range, samples, implementations, what explains a difference
GROUPS = [
    (
        "FGSM", "Linf", 0.1, 1000,
        ["torchattacks:FGSM", "art:FastGradientMethod", "foolbox:LinfFastGradientAttack"],
        "none: one step along the sign of the same gradient",
    ),
    (
        "PGD, 20 steps, no random start", "Linf", 0.1, 1000,
        [
            "torchattacks:PGD(steps=20, random_start=False)", "art:ProjectedGradientDescent(max_iter=20)",
            "foolbox:LinfProjectedGradientDescentAttack(steps=20, random_start=False)",
            "art_flat:PGD(steps=20, random_start=False)",
        ],
        "the libraries do the same; ours keeps the iterate with the largest loss, they the last",
    ),
    (
        "PGD, 20 steps, random start", "Linf", 0.1, 1000,
        [
            "torchattacks:PGD(steps=20)", "art:ProjectedGradientDescent(max_iter=20, num_random_init=1)",
            "foolbox:LinfProjectedGradientDescentAttack(steps=20)", "art_flat:PGD(steps=20)",
        ],
        "the starts are drawn anew by each; ours keeps the iterate with the largest loss",
    ),
    (
        "MIM, 20 steps, decay 1", "Linf", 0.1, 1000,
        [
            "torchattacks:MIFGSM(steps=20, decay=1.0)", "art:MomentumIterativeMethod(max_iter=20, decay=1.0)",
            "foolbox:LinfMomentumIterativeFastGradientMethod(steps=20, momentum=1.0)",
        ],
        "what is added up: torchattacks divides each gradient by its mean size and ART by its L1 norm, the same up to "
        "a factor; foolbox adds up signs",
    ),
    (
        "APGD, cross-entropy, 50 steps", "Linf", 0.1, 1000,
        [
            "torchattacks:APGD(loss='ce', steps=50)", "art:AutoProjectedGradientDescent(max_iter=50, nb_random_init=1)",
            "art_flat:APGD(steps=50)",
        ],
        "the starts; for Δℓ, that the libraries stop at the flip",
    ),
    (
        "CW", "L2", 1.5, 100,
        [
            "torchattacks:CW(c=10, steps=200, lr=0.05)",
            "art:CarliniL2Method(max_iter=200, binary_search_steps=5, initial_const=1.0, learning_rate=0.05)",
            "foolbox:L2CarliniWagnerAttack(steps=200, binary_search_steps=5, initial_const=1.0, stepsize=0.05)",
        ],
        "the constant: torchattacks keeps c and stops the whole batch when its loss rises; the others search for c per "
        "sample; ART halves and doubles its step on the way",
    ),
    (
        "DeepFool, 50 steps, overshoot 0.02", "L2", 1.5, 200,
        [
            "torchattacks:DeepFool(steps=50, overshoot=0.02)", "art:DeepFool(max_iter=50, epsilon=0.02)",
            "foolbox:L2DeepFoolAttack(steps=50, overshoot=0.02)",
        ],
        "when the overshoot is added: torchattacks to each step, foolbox to all of them each time, ART once "
        "at the end",
    ),
    (
        "Square, 1000 queries", "Linf", 0.2, 200,
        ["torchattacks:Square(n_queries=1000)", "art:SquareAttack(max_iter=1000)"],
        "chance: places and signs are drawn anew by each, torchattacks with one window for the whole batch",
    ),
]  # fmt: skip


def compare(net, data, config, group, out):
    """One row per implementation of a group, and the largest share of samples on which two of them differ."""
    name, norm, share, n, specs, why = group
    low, high = net.clip_values
    delta, known = share * (high - low), af.list_attacks()
    specs = [s for s in specs if s.partition("(")[0] in known]
    results = af.evaluate(
        {"net": net}, data.x[:n], data.y[:n], samples=data.sample_ids[:n], attacks=specs, deltas={norm: [delta]},
        epsilons=[0.1], seed=config.seed, shard_size=config.shard_size, certify=None,
        out=out / "".join(c if c.isalnum() else "_" for c in name),
    )  # fmt: skip
    summary = results.summary().set_index("attack")
    rows = results.records()
    left = {}
    for spec in specs:
        own = rows[rows["attack"] == af.load_attack(spec).name].sort_values("sample")
        inside = own[norm.lower()].to_numpy(float) <= delta
        left[spec] = (own["pred_clean"] == own["label"]).to_numpy(bool) & ~(
            inside & (own["pred_adv"] != own["label"]).to_numpy(bool)
        )
    apart = max(float((left[a] != left[b]).mean()) for a, b in itertools.combinations(specs, 2))
    table = [
        {
            "attack": f"{name}, {norm} {delta:.4g}" if i == 0 else "",
            "n": n if i == 0 else "",
            "implementation": spec,
            "robust accuracy": float(np.mean(left[spec])),
            "Δℓ ≤ 0.1": float(summary.loc[af.load_attack(spec).name, "loss_change_robustness@0.1"]),
            "differ on at most": apart if i == 0 else "",
            "explained by": why if i == 0 else "",
        }
        for i, spec in enumerate(specs)
    ]
    return table


def main(config, out):
    parsed, folder = read_config(config)
    data = load_data(parsed.data, folder)
    (name, model), *_ = parsed.models.items()
    net = af.adapt(load_model(model, data, folder, name))
    rows = []
    for group in GROUPS:
        rows += compare(net, data, parsed, group, Path(out))
        print(group[0], [r["robust accuracy"] for r in rows if r["implementation"] in group[4]], flush=True)
        write(name, data, rows)


def write(name, data, rows):
    """The rows so far, in RESULTS.md and as JSON."""
    facts = {"environment": environment(), "data": data.name, "rows": rows}
    text = json.dumps(facts, indent=1, default=float, ensure_ascii=False)
    (HERE / f"agreement-{name}.json").write_text(text + "\n")
    section(
        f"agreement-{name}",
        f"## The same attack from several libraries: {name} on {data.name}\n\n{LEGEND}\n\n{markdown(rows)}",
    )


LEGEND = (
    "Equal steps and step sizes (2.5 δ/steps), the first n test images. Differ on at most: largest share of samples "
    "that one implementation leaves right and another does not."
)

if __name__ == "__main__":
    main(*sys.argv[1:])
