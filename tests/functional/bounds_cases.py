"""Heads, the worst case by search, and the formulas with many digits, for the tests of the bounds."""

import mpmath
import pytest
import torch

from art_flat.functional import BOUND_KINDS, SOUND_BOUND_KINDS

every_kind = pytest.mark.parametrize("kind", BOUND_KINDS)
sound_kind = pytest.mark.parametrize("kind", SOUND_BOUND_KINDS)


def rounding(kind):
    """How far two ways to one bound or radius may differ, relative."""
    return 2e-9 if kind in {"directional", "best"} else 1e-11


# References: the worst case by search, and the formulas with 450 digits


def worst_case(logits, weight, labels, t, *, steps=8):
    """A lower estimate of F(t): the largest increase found from a start along every u_j and along g.

    F is convex in the move v, so that v ← t ∇/‖∇‖ never descends.
    """
    log_p = logits.double().log_softmax(dim=1)[:, None, :]
    others = log_p.scatter(2, labels[:, None, None], -torch.inf)
    u = weight.double()[None] - weight.double()[labels][:, None]
    radius = t[:, None, None]
    v = torch.nn.functional.normalize(torch.cat([u, others.softmax(dim=2) @ u], dim=1), dim=2) * radius
    best = torch.zeros_like(t)
    for step in range(steps + 1):
        a = v @ u.transpose(1, 2)
        if step % 4 == 0:
            best = torch.maximum(best, (log_p.exp() * a.expm1()).sum(dim=2).log1p().amax(dim=1))
        v = torch.nn.functional.normalize((others + a).softmax(dim=2) @ u, dim=2) * radius
    return best


def exact(kind, logits, features, weight, label, t):
    """One bound of one sample, straight from its definition, with 450 digits; "increase" is F(t) itself, for d = 2."""
    with mpmath.workdps(450):
        z, w = [mpmath.mpf(v) for v in logits.tolist()], mpmath.matrix(weight.tolist())
        k, d, t = len(z), w.cols, mpmath.mpf(t)
        total = mpmath.fsum(mpmath.exp(v) for v in z)
        p = [mpmath.exp(v) / total for v in z]

        def norm(vector):
            return mpmath.sqrt(mpmath.fsum(v * v for v in vector))

        u = [[w[j, i] - w[label, i] for i in range(d)] for j in range(k)]
        r = [norm(row) for row in u]
        g = norm([mpmath.fsum(p[j] * u[j][i] for j in range(k)) for i in range(d)])

        def pair_sum(c):
            return mpmath.fsum(p[s] * p[q] * c(s, q) for s in range(k) for q in range(k) if s != q)

        def gap(s, q):
            return norm([w[s, i] - w[q, i] for i in range(d)])

        def flat(c):
            diam = max(gap(s, q) for s in range(k) for q in range(k))
            return t * g + c * (mpmath.exp(t * diam) - 1 - t * diam) / diam**2

        if kind == "lse":
            return mpmath.log1p(mpmath.fsum(p[j] * mpmath.expm1(t * r[j]) for j in range(k)))
        if kind == "chord":
            level = mpmath.fsum(p[j] * (mpmath.cosh(t * r[j]) - 1) for j in range(k))
            pull = [p[j] * mpmath.sinh(t * r[j]) / r[j] if r[j] else mpmath.mpf(0) for j in range(k)]
            return mpmath.log1p(
                level + norm([mpmath.fsum(pull[j] * u[j][i] for j in range(k)) for i in range(d)])
            )
        if kind == "quadratic":
            return t * g + t**2 * max(gap(s, q) for s in range(k) for q in range(k)) ** 2 / 8
        if kind == "flatness":
            return flat(mpmath.fsum(v * v for v in w) * pair_sum(lambda s, q: 1))
        if kind == "flatness_neuronwise":
            return flat(pair_sum(lambda s, q: gap(s, q) ** 2) / 2)
        if kind == "increase":
            return _exact_increase(z, w, p, label, t)
        length = norm([mpmath.mpf(v) for v in features.tolist()])
        kappa = mpmath.fsum(v * v for v in w) * length**2 * pair_sum(lambda s, q: 1)
        return (t / length) ** 2 / 2 * kappa + (t / length) ** 3 * k * d / 24


def _exact_increase(z, w, p, label, t):
    """F(t) in the plane, by golden section about the best of 360 directions."""

    def increase(angle):
        v = mpmath.cos(angle), mpmath.sin(angle)
        u = [[w[j, i] - w[label, i] for i in range(2)] for j in range(len(z))]
        return mpmath.fsum(p[j] * mpmath.expm1(t * (u[j][0] * v[0] + u[j][1] * v[1])) for j in range(len(z)))

    with mpmath.workdps(30):
        angles = [2 * mpmath.pi * i / 360 for i in range(360)]
        middle = max(angles, key=increase)
        low, high = middle - mpmath.pi / 180, middle + mpmath.pi / 180
        for _ in range(60):
            a, b = low + (high - low) * 0.382, high - (high - low) * 0.382
            low, high = (a, high) if increase(a) < increase(b) else (low, b)
    with mpmath.workdps(450):
        return mpmath.log1p(increase((low + high) / 2))


def head(n, k, d, *, seed=0, scale=1.0, dtype=torch.float64):
    """Logits, features, weight and labels: any label, some φ = 0, some logits tied at the top."""
    generator = torch.Generator().manual_seed(seed)
    weight, features, bias = (
        torch.randn(s, generator=generator, dtype=dtype) for s in ((k, d), (n, d), (k,))
    )
    features[::7] = 0.0
    logits = scale * (features @ weight.T + bias)
    logits[::5, 0] = logits[::5].amax(dim=1)
    return logits, features, weight, torch.randint(0, k, (n,), generator=generator)
