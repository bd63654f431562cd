"""An attack with all columns of its records, against the bare call of the library on the bare model."""

from __future__ import annotations

import gc
import resource
import subprocess
import warnings

import numpy as np
import torch
import torchattacks
from art.attacks.evasion import ProjectedGradientDescent

import art_flat as af
from art_flat.evaluation.rows import adversarial_rows

from ._cases import resnet
from ._harness import Row, Settings, at_most, paired, python

DELTA = 8 / 255


def recorded(net, attack, x, y):
    """Clean outputs, attack, and every column of the adversarial table."""

    def run():
        clean = net.outputs(x)
        result = attack(net, x, y, delta=DELTA, norm="Linf", clean=clean)
        keys = {
            "model": "m",
            "sample": np.arange(len(x)),
            "attack": attack.name,
            "norm": "Linf",
            "delta": DELTA,
        }
        labels = torch.as_tensor(y)
        return adversarial_rows(net, labels, clean, result, result.outputs, keys)

    return run


def art_pair(settings: Settings, batch: int, steps: int):
    """Ours and ART's bare call of PGD on a ResNet-18, on NumPy arrays, all samples in one batch."""
    _, net, x, y = resnet(settings, batch)
    inputs, labels = x.numpy(), y.numpy()
    attack = af.load_attack(f"art:ProjectedGradientDescent(max_iter={steps}, batch_size={len(x)})")

    def bare():
        theirs = ProjectedGradientDescent(
            net.estimator,
            eps=DELTA,
            eps_step=2.5 * DELTA / steps,
            max_iter=steps,
            batch_size=len(x),
            verbose=False,
        )
        return theirs.generate(inputs, y=labels)

    return recorded(net, attack, inputs, labels), bare


def measure(settings: Settings) -> list[Row]:
    model, net, x, y = resnet(settings, 32)
    steps = settings.size(10, 2)
    attack = af.load_attack(f"torchattacks:PGD(steps={steps})")

    def bare():
        return torchattacks.PGD(model, eps=DELTA, alpha=2.5 * DELTA / steps, steps=steps)(x, y)

    many = settings.size(40, 2)
    warnings.simplefilter("ignore")
    rows = [
        at_most(
            f"torchattacks PGD-{steps}, ResNet-18, {len(x)} images, with all columns of the records",
            "the bare torchattacks call",
            paired(recorded(net, attack, x, y), bare, settings, least=3),
            1.16,
            closest=1.12,
        ),
        at_most(
            f"ART's PGD-{many}, ResNet-18, {settings.size(8, 4)} images, with all columns of the records",
            "the bare ART call",
            paired(*art_pair(settings, 8, many), settings, least=3),
            1.05,
        ),
    ]
    ours, theirs = (peak(which, settings) for which in ("ours", "bare"))
    note = "largest resident memory of a fresh process, 64 images, one step" if not settings.quick else ""
    figure = f"{ours:,.0f} MB against {theirs:,.0f} MB"
    return [
        *rows,
        Row("memory of ART's PGD through art_flat", "the bare ART call", figure, "less", ours < theirs, note),
    ]


def peak(which: str, settings: Settings) -> float:
    """Peak memory of a fresh process in MB."""
    code = f"from speed.attacks import peak_here; print(peak_here({which!r}, {settings.quick}))"
    root = __file__.rsplit("/speed/", 1)[0]
    out = subprocess.run(python("-c", code), cwd=root, capture_output=True, text=True, check=True)
    return float(out.stdout.split()[-1])


def peak_here(which: str, quick: bool) -> float:
    """What `peak` runs."""
    warnings.simplefilter("ignore")
    ours, bare = art_pair(Settings(quick=quick), 64, 2)
    gc.collect()
    (ours if which == "ours" else bare)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
