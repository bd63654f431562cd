"""Slow, obvious versions in float64 that share no code with art_flat."""

import math

import torch


def weight_hessian(features, weight, bias, label):
    """Hessian of one sample's cross-entropy in the last weight, by autograd, shape (k, d, k, d)."""

    def loss(w):
        return -torch.log_softmax(w @ features + bias, dim=0)[label]

    return torch.autograd.functional.hessian(loss, weight)


def logistic_hessian(features, weight, bias, label):
    """The same for log(1 + exp(∓z)) of a single row, shape (d, d)."""

    def loss(w):
        return torch.nn.functional.softplus(-(2 * label - 1) * (w @ features + bias))

    return torch.autograd.functional.hessian(loss, weight)


def log_pair_sum(logits, pair_weights):
    """log Σ_{s≠t} p_s p_t c_st of one sample, in logarithms throughout; c = 1 gives log Σ p(1 − p)."""
    log_p = torch.log_softmax(logits.double(), dim=0)
    terms = log_p[:, None] + log_p[None, :] + pair_weights.double().log()
    return terms.fill_diagonal_(-math.inf).flatten().logsumexp(dim=0)


def row_distances(weight):
    weight = weight.double()
    return torch.stack([(weight - row).square().sum(dim=1) for row in weight])


def log_relative_sharpness(logits, features, weight, definition):
    """log κ per sample, from the definitions in the literature."""
    norm = weight.double().square().sum().sqrt()
    out = []
    for z, phi in zip(logits, features, strict=True):
        if definition == "neuronwise":
            factor = log_pair_sum(z, row_distances(weight)) - math.log(2)
        else:
            factor = log_pair_sum(z, torch.ones(len(z), len(z)))
            factor = factor + (2 if definition == "paper" else 1) * norm.log()
        out.append(factor + phi.double().square().sum().log())
    return torch.stack(out)


def max_eigenvalue(logits):
    """λ_max(diag p − p pᵀ) per sample."""
    p = torch.softmax(logits.double(), dim=1)
    return torch.stack([torch.linalg.eigvalsh(torch.diag(q) - torch.outer(q, q))[-1] for q in p])


def cross_entropy(logits, label):
    """−log p_y of one sample, a Python float."""
    z = [float(v) for v in logits]
    return math.log(math.fsum(math.exp(v - max(z)) for v in z)) + max(z) - z[label]


def distance(x, x_adv, norm):
    """‖x_adv − x‖ of one sample, a Python float."""
    gaps = [abs(float(b) - float(a)) for a, b in zip(x.flatten(), x_adv.flatten(), strict=True)]
    return {
        "Linf": max(gaps),
        "L2": math.sqrt(math.fsum(g * g for g in gaps)),
        "L1": math.fsum(gaps),
        "L0": float(sum(g != 0 for g in gaps)),
    }[norm]


def project_l1(difference, delta):
    """Nearest point of the L1 ball to one difference: bisection on the shrinkage θ."""
    size = difference.double().abs()
    low, high = 0.0, float(size.max())
    for _ in range(200):
        theta = (low + high) / 2
        low, high = (theta, high) if (size - theta).clamp_min(0).sum() > delta else (low, theta)
    return difference.double().sign() * (size - high).clamp_min(0)
