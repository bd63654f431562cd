"""A lower estimate of the largest norm of the Jacobian of a net's features at given points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..errors import UnknownNameError
from ..typing import Norm

_ENTRIES = 1 << 23
_SIGN_STEPS = 20


def largest_jacobian(module: nn.Module, points: torch.Tensor, head: str | None, norm: Norm) -> float:
    """The largest norm of the Jacobian of φ over some points.

    Args:
        module: The net.
        points: Shape (n, ...).
        head: The module whose input is φ; None for the output of the net.
        norm: Norm of the inputs; for L∞ the vector of signs is found by steps that never lower ‖J s‖.

    Returns:
        The largest ‖J‖ from `norm` to L2.
    """
    first = next((p for p in module.parameters() if p.is_floating_point()), points)
    points = points.detach().to(device=first.device, dtype=first.dtype)
    largest = 0.0
    with torch.inference_mode(False), torch.enable_grad(), _features(module, head) as features:
        width = features(points[:1]).shape[1]
        for some in torch.split(points.clone(), max(1, _ENTRIES // (width * math.prod(points.shape[1:])))):
            x = some.clone().requires_grad_()
            phi = features(x).sum(dim=0)
            rows = [torch.autograd.grad(value, x, retain_graph=True)[0].flatten(1) for value in phi]
            largest = max(largest, _largest_norm(torch.stack(rows, dim=1).cpu().to(torch.float64), norm))
    return largest


@contextmanager
def _features(module: nn.Module, head: str | None) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    if head is None:
        yield lambda x: module(x).flatten(1)
        return
    modules = dict(module.named_modules())
    if head not in modules:
        raise UnknownNameError("head", head, [name for name in modules if name])
    seen: list[torch.Tensor] = []
    hook = modules[head].register_forward_pre_hook(lambda _, args: seen.append(args[0]))

    def features(x: torch.Tensor) -> torch.Tensor:
        module(x)
        last = seen[-1].flatten(1)
        seen.clear()
        return last

    try:
        yield features
    finally:
        hook.remove()


def _largest_norm(jacobians: torch.Tensor, norm: Norm) -> float:
    if norm == "L2":
        return float(torch.linalg.matrix_norm(jacobians, ord=2).max())
    if norm == "L1":
        return float(torch.linalg.vector_norm(jacobians, dim=1).max())
    signs = torch.linalg.svd(jacobians, full_matrices=False).Vh[:, :1].mT.sign()
    for _ in range(_SIGN_STEPS):
        signs = torch.where((step := jacobians.mT @ (jacobians @ signs)) == 0, signs, step.sign())
    return float(torch.linalg.vector_norm(jacobians @ signs, dim=1).max())
