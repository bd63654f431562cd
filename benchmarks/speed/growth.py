"""Scaling of the time with n, k, d, attacks and radii; exponents fitted on log axes, and a picture."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

import art_flat as af
from art_flat.functional import relative_sharpness
from art_flat.models import as_classifier

from ._harness import Row, Settings, exponent
from .scoring import records

PICTURE = Path(__file__).resolve().parents[1] / "results" / "growth.png"
LIMIT = 1.1
"""What counts as linear: timings of small sizes hold a constant, those of large ones leave the cache."""


def curve(
    make: Callable[[int], Callable[[], object]], sizes: Sequence[int], settings: Settings
) -> list[float]:
    """Median processor time of the work of every size, the sizes in turn."""
    works = {size: make(size) for size in sizes}
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    for turn in range(settings.size(6, 1)):
        for size, work in works.items():
            started = time.process_time()
            work()
            if turn or settings.quick:
                taken[size].append(max(time.process_time() - started, 1e-6))
    return [statistics.median(taken[size]) for size in sizes]


def head(n=2000, k=100, d=256):
    generator = torch.Generator().manual_seed(0)
    logits, features = torch.randn(n, k, generator=generator), torch.randn(n, d, generator=generator)
    weight = torch.randn(k, d, generator=generator)
    return lambda: relative_sharpness(logits, features, weight)


def adapter(n):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).eval()
    net = af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=10))
    x = torch.rand(n, 1, 8, 8)
    return lambda: net.measure(x, definitions=["paper"])


def run(attacks=1, radii=1):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).eval()
    net = af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=10))
    x, y = torch.rand(200, 1, 8, 8), torch.arange(200) % 10
    names = [f"art_flat:PGD(steps=10, step_size={0.01 * (i + 1):.2f})" for i in range(attacks)]
    deltas = {"Linf": [0.01 * (i + 1) for i in range(radii)]}
    return lambda: af.evaluate({"m": net}, x, y, attacks=names, deltas=deltas, certify=None)


def summary(n=2000, attacks=4, radii=4):
    results = records(n, attacks, radii)
    return results.summary


CURVES = {
    "κ of the head against n": (lambda n: head(n=n), [2000, 8000, 32000, 128000]),
    "κ of the head against k": (lambda k: head(k=k), [10, 100, 1000, 4000]),
    "κ of the head against d": (lambda d: head(d=d), [64, 512, 4096, 16384]),
    "`net.measure` against n": (adapter, [1000, 10_000, 100_000, 1_000_000]),
    "`evaluate` against attacks": (lambda a: run(attacks=a), [1, 2, 4, 8, 16]),
    "`evaluate` against radii": (lambda r: run(radii=r), [1, 2, 4, 8, 16]),
    "`summary` against samples": (lambda n: summary(n=n), [1000, 4000, 16000]),
    "`summary` against attacks": (lambda a: summary(attacks=a), [2, 8, 32]),
    "`summary` against radii": (lambda r: summary(radii=r), [2, 8, 32]),
}


def measure(settings: Settings) -> list[Row]:
    warnings.simplefilter("ignore")
    rows, curves = [], {}
    for name, (make, sizes) in CURVES.items():
        sizes = settings.size(sizes, sizes[:2])
        seconds = curve(make, sizes, settings)
        curves[name] = (sizes, seconds)
        whole, last = exponent(sizes, seconds), exponent(sizes[-2:], seconds[-2:])
        points = ", ".join(f"{n:,}: {1000 * s:.3g} ms" for n, s in zip(sizes, seconds, strict=True))
        rows.append(
            Row(
                name,
                "",
                f"exponent {whole:.2f}, between the last two {last:.2f}",
                "≤ 1",
                last <= LIMIT,
                points,
                {"sizes": sizes, "seconds": seconds, "exponent": whole, "last": last},
            )
        )
    if not settings.quick:
        draw(curves)
    return rows


def draw(curves) -> None:
    """Time per unit of work on log axes: a level line is linear growth."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axis, (title, word) in zip(
        figure.subplots(1, 3),
        (("κ of the head", "κ of the head"), ("runs", "evaluate"), ("scores", "summary")),
        strict=True,
    ):
        for name, (sizes, seconds) in curves.items():
            if word in name or (word == "evaluate" and "measure" in name):
                each = [1e6 * s / n for n, s in zip(sizes, seconds, strict=True)]
                label = f"{name.replace('`', '')} (t ∝ size^{exponent(sizes, seconds):.2f})"
                axis.loglog(sizes, each, marker="o", label=label)
        axis.set(title=title, xlabel="size", ylabel="processor time per unit of size / µs")
        axis.legend(fontsize=7)
        axis.grid(True, which="both", alpha=0.2)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
