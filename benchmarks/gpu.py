"""Speed of art_flat on a GPU: python benchmarks/gpu.py [--quick] [--out DIR]

1. κ on a ResNet-50, 224×224, in float32 and bfloat16, as a ratio to the bare forward pass (target ≤ 1.01).
2. κ of the head alone (k = 1000, d = 2048), compiled: bytes read a second against a device-to-device copy (≥ 70 %).
3. Copies to the host and waits for the device, counted by the profiler: they may not grow with the batches.
4. The attacks of the suite "fast" with data resident on the device.

Without a GPU the same runs in a small size on the CPU, which shows that the script works and nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torchvision.models import resnet50

import art_flat as af
from art_flat.functional import relative_sharpness
from art_flat.models import as_classifier, mnist_cnn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from speed._harness import Row, markdown, write  # noqa: E402

WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
"""What the host calls to wait for the device."""


def adapted(model: nn.Module, shape: tuple[int, ...], classes: int, device: torch.device, dtype: torch.dtype):
    """An adapted classifier whose model lies on `device` in `dtype`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return af.adapt(as_classifier(model.to(device, dtype).eval(), input_shape=shape, nb_classes=classes))


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of a call, with everything on the device finished before and after."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started


def ratio(
    ours: Callable[[], object], bare: Callable[[], object], device: torch.device, pairs: int
) -> list[float]:
    """Ratios of pairs timed in turn, sorted, after a warm-up."""
    seconds(ours, device), seconds(bare, device)
    return sorted(seconds(ours, device) / seconds(bare, device) for _ in range(pairs))


def forward(device: torch.device, dtype: torch.dtype, quick: bool) -> Row:
    size, batch, batches = (32, 2, 1) if quick else (224, 128, 8)
    torch.manual_seed(0)
    model = resnet50()
    net = adapted(model, (3, size, size), 1000, device, dtype)
    x = torch.rand(batch * batches, 3, size, size, device=device, dtype=dtype)

    def bare():
        with torch.inference_mode():
            for piece in x.split(batch):
                model(piece)

    found = ratio(lambda: net.relative_sharpness(x, batch_size=batch), bare, device, 2 if quick else 15)
    middle = statistics.median(found)
    name = str(dtype).removeprefix("torch.")
    what = f"`net.relative_sharpness(x)`, ResNet-50, {size}×{size}, {name}, batch {batch}"
    figure = f"{middle:.3f} ({found[0]:.3f}…{found[-1]:.3f})"
    return Row(what, "the bare model", figure, "≤ 1.01", middle <= 1.01, details={"ratios": found})


def head(device: torch.device, quick: bool) -> Row:
    n, k, d = (200, 100, 64) if quick else (65536, 1000, 2048)
    torch.manual_seed(0)
    logits, features = torch.randn(n, k, device=device) * 3, torch.randn(n, d, device=device).abs()
    weight = torch.randn(k, d, device=device) / d**0.5
    norm = torch.linalg.vector_norm(weight)

    def kappa(z, phi):
        return relative_sharpness(z, phi, weight, weight_norm=norm)

    kernel, how = kappa, "eager"
    if not quick:
        kernel, how = torch.compile(kappa, dynamic=False), "torch.compile"
    target, source = torch.empty_like(features), features
    with torch.inference_mode():
        kernel(logits, features)
        error = (
            (kernel(logits, features).double() / kappa(logits.double(), features.double()) - 1).abs().max()
        )
        ours = statistics.median(
            seconds(lambda: kernel(logits, features), device) for _ in range(2 if quick else 30)
        )
        copy = statistics.median(
            seconds(lambda: target.copy_(source), device) for _ in range(2 if quick else 30)
        )
    read, moved = 4 * n * (k + d) / ours / 1e9, 2 * 4 * n * d / copy / 1e9
    return Row(
        f"κ of the head alone, n = {n:,}, k = {k}, d = {d}, {how}",
        "a copy on the device",
        f"{read:,.0f} GB/s of {moved:,.0f} GB/s: {100 * read / moved:.0f} %",
        "≥ 70 %",
        None if quick else read >= 0.7 * moved,
        f"largest relative error against float64 {float(error):.0e}",
        {"read": read, "copy": moved},
    )


def waits(device: torch.device, quick: bool) -> list[Row]:
    """How often the host waits for the device, for few batches and for many."""
    model = mnist_cnn()
    net = adapted(model, (1, 28, 28), 10, device, torch.float32)
    batch, counts = 16, {}
    for batches in (2, 4 if quick else 16):
        x = torch.rand(batch * batches, 1, 28, 28)  # on the host, as data usually are
        net.relative_sharpness(x, batch_size=batch)
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
        with profile(activities=activities) as seen:
            net.relative_sharpness(x, batch_size=batch)
        events = seen.events()
        counts[batches] = {
            "copies to the host": sum("Memcpy DtoH" in e.name for e in events),
            "reads of a number": sum(e.name == "aten::_local_scalar_dense" for e in events),
            "waits": sum(e.name in WAITS for e in events),
        }
    (few, first), (many, last) = counts.items()
    rows = []
    for name in first:
        target = "≤ 1" if name == "copies to the host" else "no more"
        met = last[name] <= (1 if name == "copies to the host" else first[name])
        figure = f"{first[name]} with {few} batches, {last[name]} with {many}"
        rows.append(
            Row(f"{name} in one call of `relative_sharpness`", "", figure, target, met, details=counts)
        )
    return rows


def suite(device: torch.device, quick: bool) -> Row:
    n = 8 if quick else 512
    torch.manual_seed(0)
    net = adapted(mnist_cnn(), (1, 28, 28), 10, device, torch.float32)
    x, y = torch.rand(n, 1, 28, 28, device=device), torch.arange(n, device=device) % 10
    taken, failed = {}, []
    for attack in af.load_suite("fast") if not quick else ["art_flat:PGD(steps=2)", "torchattacks:FGSM"]:
        attack = af.load_attack(attack) if isinstance(attack, str) else attack
        for norm, delta in (("Linf", 0.1), ("L2", 1.5)):
            if norm not in attack.info.norms:
                continue
            key = f"{attack.name} {norm}"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    result = attack(net, x, y, delta=delta, norm=norm)
                taken[key] = result.seconds
                assert result.x.device.type == device.type
            except Exception as error:  # one attack that fails on a device hides no other
                failed.append(f"{key}: {error}")
    note = "; ".join(failed) or "points, losses and records stay on the device of the data"
    figure = f"{sum(taken.values()):.1f} s for {len(taken)} units of {n} images, {len(failed)} failed"
    return Row(
        'the attacks of the suite "fast", data on the device', "", figure, "all run", not failed, note, taken
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, also on a GPU")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where gpu.json and gpu.md go")
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    quick = options.quick or device.type != "cuda"
    if device.type != "cuda":
        print("no GPU here: a tiny run on the CPU, whose figures mean nothing", file=sys.stderr)
    rows = [forward(device, dtype, quick) for dtype in (torch.float32, torch.bfloat16)]
    rows += [head(device, quick), *waits(device, quick), suite(device, quick)]
    write("gpu" if device.type == "cuda" else "gpu-on-cpu", rows, options.out)
    print(markdown([asdict(row) for row in rows]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
