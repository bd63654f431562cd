"""Nets, and slow exact norms of their Jacobians, for the tests of Lipschitz constants."""

import itertools

import torch
from torch import nn

NORMS = ["L2", "Linf", "L1"]


def jacobian(function, x):
    """Jacobian of one sample's flattened output, shape (outputs, inputs), float64."""
    flat = torch.autograd.functional.jacobian(lambda v: function(v[None]).flatten(), x.double())
    return flat.reshape(flat.shape[0], -1)


def norm_from(norm, matrix):
    """The norm of a small matrix to L2: exact, for L∞ from all vectors of signs."""
    if norm == "L2":
        return torch.linalg.svdvals(matrix)[0].item()
    if norm == "L1":
        return matrix.square().sum(dim=0).max().sqrt().item()
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=matrix.shape[1])), dtype=matrix.dtype)
    return (signs @ matrix.T).square().sum(dim=1).max().sqrt().item()


def seen(net, shape, *, n=12, norm="L2", output=None):
    """The largest Jacobian norm at random points, near and far."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    points *= torch.logspace(-2, 1.5, n, dtype=torch.float64).reshape(-1, *[1] * len(shape))
    wide = net.double() if output is None else output
    return max(norm_from(norm, jacobian(wide, x)) for x in points)


def randomised(net):
    """Random running statistics and scales in every batch norm; evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for m in net.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            m.running_mean.copy_(torch.randn(m.running_mean.shape, generator=generator))
            m.running_var.copy_(torch.rand(m.running_var.shape, generator=generator) + 0.2)
            if m.affine:
                m.weight.data = torch.randn(m.weight.shape, generator=generator) + 0.5
    return net.eval()


class Net(nn.Module):
    """A net from a forward function of (self, x) and named layers."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.run = forward
        for name, value in layers.items():
            setattr(self, name, value) if isinstance(value, nn.Module) else self.register_buffer(name, value)
        randomised(self)

    def forward(self, x):
        return self.run(self, x)


def conv(*args, **kwargs):
    return nn.Conv2d(*args, **kwargs)


def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).eval()
