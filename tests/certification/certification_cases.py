"""Small random nets of every supported kind, and what attacks reach on them; plain torch in float64."""

import torch
from torch import nn
from torch.nn import functional as F

SHAPE = (2, 6, 6)


class Residual(nn.Module):
    """Two branches that meet, one with a stride and a 1×1 convolution around it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.around = nn.Conv2d(4, 6, 1, stride=2)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu(self.bn(self.stem(x)))
        x = x + self.conv1(x).relu_()
        x = torch.relu(self.conv2(x) - self.around(x))
        return self.head(x.mean((2, 3)))


class Dense(nn.Module):
    """Concatenation with batch normalisation before ReLU, average pooling between."""

    def __init__(self):
        super().__init__()
        self.conv0 = nn.Conv2d(2, 3, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(3), nn.BatchNorm2d(6)
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.Conv2d(6, 4, 1, bias=False)
        self.bn3, self.head = nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        x = self.conv0(x)
        x = torch.cat([x, self.conv1(self.bn1(x).relu())], 1)
        x = F.avg_pool2d(self.conv2(F.relu(self.bn2(x))), 2)
        return F.adaptive_avg_pool2d(self.head(F.relu(self.bn3(x))), 1).flatten(1)


class Functional(nn.Module):
    """Layers as functions, arithmetic with constants, branches that share a layer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 2, 3, 3) / 3)
        self.layer, self.head = nn.Linear(36, 36), nn.Linear(36, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(F.conv2d(2 * (x - 0.5), self.weight, stride=2, padding=2)), 2, 1)
        x = torch.flatten(x, 1)
        x = F.leaky_relu(self.layer(F.relu(self.layer(x)) / 3), 0.2)
        return self.head(x)


def conv_net(*middle, features):
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), *middle, nn.Flatten(), nn.Linear(features, 3))


def mlp(activation, width=12):
    layers = [nn.Linear(72, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, 3)]
    return nn.Sequential(nn.Flatten(), *layers)


NETS = {
    "relu": lambda: mlp(nn.ReLU),
    "one_logit": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 9), nn.ReLU(), nn.Linear(9, 1)),
    "leaky": lambda: mlp(nn.LeakyReLU),
    "relu6": lambda: mlp(nn.ReLU6),
    "hardtanh": lambda: mlp(nn.Hardtanh),
    "tanh": lambda: mlp(nn.Tanh),
    "sigmoid": lambda: mlp(nn.Sigmoid),
    "pool": lambda: conv_net(
        nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3), features=5
    ),
    "pool_first": lambda: conv_net(nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Tanh(), features=5),
    "pool_alone": lambda: conv_net(nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.ReLU(), features=20),
    "pool_overlapping": lambda: conv_net(
        nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 5, 2), nn.LeakyReLU(0.1), features=20
    ),
    "pool_alone_padded": lambda: conv_net(nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 2), nn.ReLU(), features=16),
    "pool_ceil_dilated": lambda: conv_net(
        nn.ReLU(), nn.MaxPool2d(2, 3, dilation=2, ceil_mode=True), nn.Conv2d(4, 5, 1), nn.ReLU(), features=20
    ),
    "strided_groups": lambda: conv_net(
        nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 4, 2, padding=1, dilation=2), nn.ReLU(), features=36
    ),
    "affine_then_conv": lambda: nn.Sequential(
        nn.BatchNorm2d(2), nn.ZeroPad2d(1), nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 3, padding="same"), nn.ReLU(),
        nn.Flatten(), nn.Linear(108, 3)
    ),
    "one_axis": lambda: nn.Sequential(
        nn.Flatten(2), nn.Conv1d(2, 4, 5, stride=2, padding=1), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 4, 3),
        nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)
    ),
    "residual": Residual,
    "dense": Dense,
    "functional": Functional,
}  # fmt: skip


def build(name, *, seed=0, scale=1.5):
    """A net in evaluation mode and float64 with random weights and batch statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = NETS[name]().double().eval()
        with torch.no_grad():
            for part in net.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.running_mean.normal_(std=0.3)
                    part.running_var.uniform_(0.5, 2)
                    part.weight.normal_(1, 0.5)
                    part.bias.normal_(std=0.3)
            for parameter in net.parameters():
                parameter.mul_(scale)
    return net


def samples(n=3, *, seed=0, shape=SHAPE, classes=3):
    """Inputs with values at both ends of the clip range, and labels."""
    generator = torch.Generator().manual_seed(seed)
    x = (1.6 * torch.rand(n, *shape, generator=generator, dtype=torch.float64) - 0.3).clamp(0, 1)
    return x, torch.randint(classes, (n,), generator=generator)


def losses(net, x, y):
    """Cross-entropy per sample; one logit z is two classes with logits −z/2 and z/2."""
    z = net(x)
    z = torch.cat([-z / 2, z / 2], 1) if z.shape[1] == 1 else z
    return F.cross_entropy(z, y, reduction="none")


def into_ball(d, x, delta, norm):
    """Displacements scaled into the ball, then clipped; clipping to a box that contains x only shortens them."""
    flat = d.flatten(1)
    if norm == "Linf":
        d = d.clamp(-delta, delta)
    else:
        length = flat.norm(p=2 if norm == "L2" else 1, dim=1).clamp(min=1e-300)
        d = d * (delta / length).clamp(max=1).view(-1, *[1] * (d.ndim - 1))
    return (x + d).clamp(0, 1) - x


def worst_found(net, x, y, *, delta, norm, restarts=3, steps=15, seed=0):
    """The largest loss increase that random points and gradient ascent find in the ball within [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    clean = losses(net, x, y).detach()
    best = torch.zeros_like(clean)
    for _ in range(restarts):
        d = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        d = d.sign() if norm == "Linf" else d
        d = into_ball(d * delta, x, delta, norm)
        for _ in range(steps):
            d = d.detach().requires_grad_()
            increase = losses(net, x + d, y) - clean
            best = torch.maximum(best, increase.detach())
            (gradient,) = torch.autograd.grad(increase.sum(), d)
            d = into_ball(d + step(gradient, d, x, delta, norm), x, delta, norm)
        best = torch.maximum(best, (losses(net, x + d, y) - clean).detach())
    return best


def step(gradient, d, x, delta, norm):
    """Half a radius uphill; in L1 on the steepest element that can still move."""
    flat = gradient.flatten(1)
    if norm == "Linf":
        return 0.5 * delta * gradient.sign()
    if norm == "L2":
        return (0.5 * delta * flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-300)).view_as(d)
    at = (x + d).flatten(1)
    movable = torch.where(flat > 0, at < 1, at > 0)
    best = (flat.abs() * movable).argmax(1, keepdim=True)
    return torch.zeros_like(flat).scatter_(1, best, 0.5 * delta * flat.gather(1, best).sign()).view_as(d)
