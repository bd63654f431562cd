"""κ of every sample against other methods for a Hessian's trace: times, and errors against float64 autograd.

All are given the features of the head alone (d = 64, k = 10), where every peer can run, and asked for ‖W‖_F² Tr H of
each sample. Peers that are not installed are rows that say so: `pip install "art-flat[bench]"`, or with `--no-deps`
where a peer would replace the torch that is there.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from art_flat.functional import relative_sharpness

from ._harness import Row, Settings, Timing, faster, median_seconds, missing

D, K, DRAWS = 64, 10, 100
Peer = Callable[[nn.Linear, torch.Tensor, torch.Tensor], torch.Tensor]


def ours(head, phi, y):
    return relative_sharpness(head(phi), phi, head.weight).detach()


def autograd_hessian(head, phi, y):
    """`torch.autograd.functional.hessian` of one sample after the other."""
    traces = []
    for f, label in zip(phi, y, strict=True):

        def loss(w, f=f, label=label):
            return F.cross_entropy((w @ f + head.bias)[None], label[None])

        h = torch.autograd.functional.hessian(loss, head.weight)
        traces.append(h.reshape(K * D, K * D).trace())
    return scaled(head, torch.stack(traces))


def vmap_hessian(head, phi, y):
    """`torch.func.vmap` of `torch.func.hessian`."""

    def trace(f, label):
        def loss(w):
            return F.cross_entropy((w @ f + head.bias)[None], label[None])

        return torch.func.hessian(loss)(head.weight).reshape(K * D, K * D).trace()

    return scaled(head, torch.func.vmap(trace)(phi, y))


def hutchinson(head, phi, y):
    """Hutchinson's estimate with 100 draws, a Hessian-vector product each, sample by sample."""
    traces = []
    for f, label in zip(phi, y, strict=True):
        loss = F.cross_entropy(head(f[None]), label[None])
        (g,) = torch.autograd.grad(loss, head.weight, create_graph=True)
        total = torch.zeros(())
        for _ in range(DRAWS):
            v = torch.randint_like(g, 2) * 2 - 1
            (hv,) = torch.autograd.grad(g, head.weight, v, retain_graph=True)
            total = total + (v * hv).sum()
        traces.append(total / DRAWS)
    return scaled(head, torch.stack(traces))


def backpack(head, phi, y):
    """BackPACK's `BatchDiagHessian`."""
    from backpack import backpack as context
    from backpack import extend
    from backpack.extensions import BatchDiagHessian

    layer = extend(copy_of(head))
    loss = extend(nn.CrossEntropyLoss(reduction="sum"))(layer(phi), y)
    with context(BatchDiagHessian()):
        loss.backward()
    return scaled(head, layer.weight.diag_h_batch.flatten(1).sum(1))


def curvlinops(head, phi, y):
    """curvlinops' exact Hessian operator, one for every sample, and its trace by unit vectors."""
    from curvlinops import HessianLinearOperator

    layer, traces = copy_of(head), []
    identity = torch.eye(K * D)
    for f, label in zip(phi, y, strict=True):
        operator = HessianLinearOperator(
            layer, nn.CrossEntropyLoss(), [layer.weight], [(f[None], label[None])], check_deterministic=False
        )
        traces.append((operator @ identity).diagonal().sum())
    return scaled(head, torch.stack(traces).to(phi))


def pyhessian(head, phi, y):
    """PyHessian's Hutchinson estimate, up to 100 draws, sample by sample."""
    import numpy as np
    from pyhessian import hessian

    layer = nn.Linear(D, K, bias=False)
    layer.weight.data = head.weight.detach().clone()
    bias = head.bias.detach()

    def criterion(z, label):
        return F.cross_entropy(z + bias, label)

    traces = []
    for f, label in zip(phi, y, strict=True):
        found = hessian(layer, criterion, data=(f[None], label[None]), cuda=False)
        traces.append(float(np.mean(found.trace(maxIter=DRAWS, tol=0))))
    return scaled(head, torch.tensor(traces))


def copy_of(head):
    layer = nn.Linear(D, K)
    layer.load_state_dict(head.state_dict())
    return layer


def scaled(head, trace):
    return (trace * head.weight.square().sum()).detach()


PEERS: dict[str, tuple[Peer, str | None, int, float | None]] = {
    # name: function, package, samples that it is timed on, times that ours is to be faster
    "per-sample autograd Hessian": (autograd_hessian, None, 32, 1000.0),
    "Hutchinson, 100 draws": (hutchinson, None, 32, None),
    "BackPACK `BatchDiagHessian`": (backpack, "backpack", 2048, 10.0),
    "curvlinops `HessianLinearOperator`": (curvlinops, "curvlinops", 8, None),
    "PyHessian, 100 draws": (pyhessian, "pyhessian", 8, None),
    "`vmap` of `torch.func.hessian`": (vmap_hessian, None, 32, None),
}


def measure(settings: Settings) -> list[Row]:
    torch.manual_seed(0)
    head = nn.Linear(D, K)
    head.weight.data *= 4
    phi, y = torch.randn(2048, D).abs(), torch.randint(0, K, (2048,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            against(
                name,
                peer,
                package,
                limit,
                head,
                phi[: settings.size(n, 2)],
                y[: settings.size(n, 2)],
                settings,
            )
            for name, (peer, package, n, limit) in PEERS.items()
        ]


def against(name, peer, package, limit, head, phi, y, settings) -> Row:
    n = len(phi)
    what = f"κ of each of {n} samples, head alone, d = {D}, k = {K}"
    if package is not None:
        try:
            importlib.import_module(package)
        except Exception as error:  # a peer that does not fit this torch fails in its own ways
            return missing(what, name, f"not installed or not importable: {error}")
    double = copy_of(head).double()
    exact = relative_sharpness(double(phi.double()), phi.double(), double.weight).detach()
    traces = torch.stack([_exact_trace(double, f, label) for f, label in zip(phi[:2], y[:2], strict=True)])
    assert torch.allclose(exact[:2], scaled(double, traces), rtol=1e-9)  # our float64 is autograd's
    try:
        value = peer(head, phi, y)
        theirs = median_seconds(lambda: peer(head, phi, y), settings, most=7)
    except Exception as error:
        return missing(what, name, f"{type(error).__name__}: {error}"[:200])
    repeats = settings.size(200, 1)  # ours takes microseconds: time many calls

    def many():
        with torch.no_grad():
            for _ in range(repeats):
                ours(head, phi, y)

    mine = median_seconds(many, settings, most=9) / repeats
    error, own = (float(((v.double() - exact).abs() / exact).max()) for v in (value, ours(head, phi, y)))
    timing = Timing(mine / theirs, mine / theirs, mine / theirs, mine / theirs, mine, theirs, 0)
    note = (
        f"{1e6 * mine / n:.2f} against {1e6 * theirs / n:,.1f} µs a sample; largest relative error {own:.0e} "
    )
    row = faster(what, name, timing, limit, note + f"against {error:.0e}")
    return replace(row, figure=f"{theirs / mine:,.1f}×")


def _exact_trace(head, f, label):
    def loss(w):
        return F.cross_entropy((w @ f.double() + head.bias)[None], label[None])

    return torch.autograd.functional.hessian(loss, head.weight).reshape(K * D, K * D).trace()
