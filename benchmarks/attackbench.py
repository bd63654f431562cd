"""Distances and local optimality against AttackBench: python benchmarks/attackbench.py WEIGHTS MNIST [N]

WEIGHTS is the file of `mnist_6x100`, MNIST the folder with MNIST/raw in it; the first N = 200 test images are
attacked.
Both halves run in one environment, made for it:

    python -m venv attackbench && . attackbench/bin/activate
    pip install -e ".[foolbox]" "wandb>=0.15"
    pip install --no-deps adv-lib==0.2.8 attackbenchlib==2.0.2

Each row is one attack of one library, once run by `attackbench.run_attack` with AttackBench's own wrapper, once by
art_flat, on the same batches. Writes attackbench.json and attackbench.md; a row that is there already is kept.
"""

import copy
import functools
import json
import math
import sys
import warnings
from typing import NamedTuple

import numpy as np
import torch
from results_page import HERE, markdown, section
from torch.utils.data import DataLoader, TensorDataset

import art_flat as af
from art_flat import models
from art_flat.datasets import load_dataset
from art_flat.records.manifest import environment
from art_flat.scores import distance_optimality_score

af.list_attacks("advlib")  # imports adv-lib without visdom
sys.path.append(sys.path.pop(0))  # this file has the name of the library

import adv_lib.attacks as adv_lib  # noqa: E402
import attackbench  # noqa: E402
import foolbox  # noqa: E402
from attackbench.attacks.adv_lib.wrapper import adv_lib_wrapper  # noqa: E402
from attackbench.attacks.foolbox.wrapper import foolbox_wrapper  # noqa: E402
from attackbench.models.benchmodel_wrapper import BenchModel  # noqa: E402

N, BATCH, SEED = 200, 50, 42
FILE, PAGE = HERE / "attackbench.json", "attackbench.md"

SAME = "nothing differs: both take the nearest wrong point that the attack asked about"
EARLIER = "AttackBench counts every wrong point that the attack asked about, art_flat the one returned"
ONE = (
    "one sample of 200, by rounding: its point changes 382 values in AttackBench's batch, 374 in the same batch "
    "without the misclassified image, and 381 alone"
)
DRAWS = "the attack draws numbers, and the two do not draw the same"
TOLERANCE = "AttackBench also counts points wrong by less than the attack's tolerance of 1e-4: none here"


class Row(NamedTuple):
    """One attack: its norm, its name in art_flat, and the same for AttackBench."""

    norm: str
    ours: str
    theirs: functools.partial
    why: str


def theirs(function, **arguments):
    """A function of adv-lib as AttackBench's own configurations wrap it."""
    return functools.partial(adv_lib_wrapper, attack=functools.partial(function, **arguments))


STEPS = 50
DDN = functools.partial(foolbox_wrapper, attack=functools.partial(foolbox.attacks.DDNAttack, steps=STEPS))
ROWS = (
    Row("L2", f"advlib:DDN(steps={STEPS})", theirs(adv_lib.ddn, steps=STEPS, levels=None), SAME),
    Row("L2", f"foolbox:DDNAttack(steps={STEPS})", DDN, SAME),
    Row("L2", f"advlib:FMN(steps={STEPS})", theirs(adv_lib.fmn, norm=2, steps=STEPS), SAME),
    Row(
        "L2", f"advlib:ALMA(num_steps={STEPS}, init_lr_distance=0.1)",
        theirs(adv_lib.alma, num_steps=STEPS, init_lr_distance=0.1), TOLERANCE,
    ),
    Row(
        "Linf", f"advlib:FMN(steps={STEPS}, alpha_init=10)",
        theirs(adv_lib.fmn, norm=math.inf, steps=STEPS, α_init=10), SAME,
    ),
    Row(
        "Linf", f"advlib:TR(adaptive=True, iter={STEPS})",
        theirs(adv_lib.tr, p=math.inf, adaptive=True, iter=STEPS), SAME,
    ),
    Row("L0", f"advlib:SigmaZero(num_steps={STEPS})", theirs(adv_lib.sigma_zero, num_steps=STEPS), SAME),
    Row("L0", f"advlib:FMN(steps={STEPS})", theirs(adv_lib.fmn, norm=0, steps=STEPS), SAME),
    Row("L1", f"advlib:FMN(steps={STEPS})", theirs(adv_lib.fmn, norm=1, steps=STEPS), SAME),
    Row(
        "L1", f"advlib:ALMA(num_steps={STEPS}, init_lr_distance=0.5)",
        theirs(adv_lib.alma, distance="l1", num_steps=STEPS, init_lr_distance=0.5), TOLERANCE,
    ),
    Row("L2", f"advlib:PDGD(num_steps={STEPS})", theirs(adv_lib.pdgd, num_steps=STEPS), SAME),
    Row("L2", f"advlib:PDPGD(num_steps={STEPS})", theirs(adv_lib.pdpgd, norm=2, num_steps=STEPS), SAME),
    Row("Linf", f"advlib:PDPGD(num_steps={STEPS})", theirs(adv_lib.pdpgd, norm=math.inf, num_steps=STEPS), SAME),
    Row("L1", f"advlib:PDPGD(num_steps={STEPS})", theirs(adv_lib.pdpgd, norm=1, num_steps=STEPS), SAME),
    Row(
        "L0", f"advlib:PDPGD(num_steps={STEPS}, proximal_operator=23)",
        theirs(adv_lib.pdpgd, norm=0, num_steps=STEPS, proximal_operator=23), ONE,
    ),
    Row(
        "L2", "advlib:SuperDeepFool(steps=5, df_steps=20)",
        theirs(adv_lib.sdf, steps=5, df_steps=20), EARLIER,
    ),
    Row("L0", "advlib:VFGA(max_iter=100)", theirs(adv_lib.vfga, max_iter=100), DRAWS),
)  # fmt: skip


def of_attackbench(row, module, x, y, enforce_box=False):
    """AttackBench's smallest distances during the attack, those of the points returned, and its passes a sample.

    By default it clamps what the attack asks about to [0, 1], and the gradient of clamp is 0 at its ends.
    """
    loader = DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=BATCH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = attackbench.run_attack(
            BenchModel(module, enforce_box),
            loader,
            row.theirs,
            row.norm.lower(),
            torch.device("cpu"),
            seed=SEED,
            debug=True,
        )
    best, final = (result[key][row.norm.lower()] for key in ("distances", "final_distances"))
    passes = [float(np.mean(result[key])) for key in ("num_forwards", "num_backwards")]
    return {"best": best, "final": final, "passes": passes, "correct": result["correct"]}


def of_art_flat(row, net, x, y):
    """The distances of art_flat: 0 for misclassified samples, infinite where nothing was found."""
    attack, right, distances, passes = af.load_attack(row.ours), np.asarray(net.predict(x)) == y, [], []
    for start in range(0, len(x), BATCH):
        part = slice(start, start + BATCH)
        found = attack(net, x[part], y[part], norm=row.norm, seed=SEED)
        fooled = np.where(found.success, found.distances[row.norm], np.inf)
        distances += np.where(right[part], fooled, 0.0).tolist()
        passes.append([found.forwards, found.backwards])
    return {"best": distances, "passes": np.mean(passes, axis=0).tolist()}


def measure(row, module, net, x, y):
    """Both distances of one attack; for the first also with what AttackBench does by default."""
    own, other = of_art_flat(row, net, x, y), of_attackbench(row, copy.deepcopy(module), x, y)
    measured = {"norm": row.norm, "attack": row.ours, "art_flat": own, "attackbench": other}
    if row is ROWS[0]:
        measured["clamped"] = of_attackbench(row, copy.deepcopy(module), x, y, enforce_box=True)
    return measured


def compared(rows):
    """One line per attack: how far distances and local optimality are apart."""
    table = []
    for row in rows:
        same_norm = [r for r in rows if r["norm"] == row["norm"]]
        ours, best, final = (np.array(v) for v in (
            row["art_flat"]["best"], row["attackbench"]["best"], row["attackbench"]["final"],
        ))  # fmt: skip
        low = row["norm"].lower()
        named = [
            {"distances": {low: r["attackbench"]["best"]}, "correct": r["attackbench"]["correct"]}
            for r in same_norm
        ]
        own = {"distances": {low: row["attackbench"]["best"]}, "correct": row["attackbench"]["correct"]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = attackbench.compute_local_optimality(own, named, low, use_wandb=False)["optimality"]
        here = distance_optimality_score(ours, [r["art_flat"]["best"] for r in same_norm])
        table.append({
            "norm": row["norm"], "attack": row["attack"],
            "found": f"{np.isfinite(ours).mean():.3f} / {np.isfinite(best).mean():.3f}",
            "median distance": f"{np.median(ours):.4g} / {np.median(best):.4g}",
            "returned points apart": apart(ours, final), "nearest points apart": apart(ours, best),
            "local optimality": f"{here:.4f} / {theirs:.4f}", "difference": round(here - theirs, 4) + 0.0,
            "explained by": row["why"],
        })  # fmt: skip
    return table


def apart(ours, other):
    """Share of the samples whose distances differ by more than rounding."""
    finite = np.isfinite(ours) & np.isfinite(other)
    differ = np.isfinite(ours) != np.isfinite(other)
    differ[finite] = np.abs(ours[finite] - other[finite]) > 1e-5 * (1 + other[finite])
    return float(differ.mean())


def main(weights, mnist, n=N):
    module = models.load_weights(models.mnist_6x100(), weights).eval()
    data = load_dataset("mnist", split="test", n=int(n), root=mnist)
    net = af.adapt(models.as_classifier(module, input_shape=(1, 28, 28), nb_classes=10))
    known = json.loads(FILE.read_text("utf-8"))["rows"] if FILE.exists() else []
    rows = {(r["norm"], r["attack"]): r for r in known if len(r["art_flat"]["best"]) == int(n)}
    for row in ROWS:
        key = row.norm, row.ours
        if key not in rows:
            rows[key] = measure(row, module, net, data.x, np.asarray(data.y))
        rows[key]["why"] = row.why
        print(*key, rows[key]["art_flat"]["passes"], rows[key]["attackbench"]["passes"], flush=True)
        write([rows[(r.norm, r.ours)] for r in ROWS if (r.norm, r.ours) in rows])


def write(rows):
    """The rows so far, as JSON and as a page."""
    facts = {"attackbenchlib": attackbench.__version__, "environment": environment(), "net": "mnist_6x100"}
    table = compared(rows)
    text = json.dumps({**facts, "table": table, "rows": rows}, default=float, ensure_ascii=False)
    FILE.write_text(text.replace('{"norm"', '\n{"norm"') + "\n", encoding="utf-8")
    section("table", f"{LEGEND}\n\n{markdown(table)}\n\n{with_clamp(rows[0])}", PAGE)


def with_clamp(row):
    """What AttackBench measures by default, in a sentence."""
    plain, clamped = (np.array(row[key]["best"]) for key in ("attackbench", "clamped"))
    return (
        f"With the clamp of AttackBench's default, the median distance of {row['attack']} is {np.median(clamped):.3g} "
        f"in place of {np.median(plain):.3g}, and {np.isfinite(clamped).mean():.1%} of the samples are fooled in place "
        f"of {np.isfinite(plain).mean():.1%}."
    )


LEGEND = (
    "art_flat / AttackBench, on the first test images of MNIST and the public net `mnist_6x100`. Apart: share of the "
    "samples whose distances differ by more than 1e-5, relative or absolute; art_flat's is that of the point that the "
    "attack returned. Local optimality: against the attacks of the same norm, each half with its own distances."
)

if __name__ == "__main__":
    main(*sys.argv[1:])
