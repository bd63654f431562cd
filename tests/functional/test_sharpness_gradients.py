import math

import pytest
import torch
from sampling import slow
from sharpness_cases import ALL, close, each, grads, head
from tolerances import rounding

from art_flat.functional import (
    hessian_max_eigenvalue,
    log_relative_sharpness,
    relative_sharpness,
)


@each
@pytest.mark.parametrize("k", [1, slow(2), 4])
def test_gradients(name, k):
    z, phi, w = head(3, k, 3, seed=3)
    z[2] = torch.randn(k, generator=torch.Generator().manual_seed(1), dtype=z.dtype)
    if (
        name == "hessian_max_eigenvalue"
    ):  # of undecided samples a multiple eigenvalue, which has no derivative
        z[1] = torch.linspace(0.0, 1.0, k, dtype=z.dtype)
    for tensor in (z, phi, w):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(ALL[name], (z, phi, w))
    if name != "hessian_max_eigenvalue":
        assert torch.autograd.gradgradcheck(ALL[name], (z, phi, w))


@pytest.mark.parametrize("function", [relative_sharpness, log_relative_sharpness])
def test_gradient_in_the_weight_with_equal_rows(function):
    z, phi, w = head(3, 4, 3)
    w[1] = w[3]
    w.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: function(z, phi, w, definition="neuronwise"), (w,))


@each
def test_gradients_of_confident_samples_in_float32(name):
    generator = torch.Generator().manual_seed(0)
    z, phi, w = (
        20 * torch.randn(6, 5, generator=generator),
        torch.randn(6, 3, generator=generator),
        torch.randn(5, 3, generator=generator),
    )
    actual = grads(ALL[name], z, phi, w)
    expected = grads(ALL[name], z.double(), phi.double(), w.double())
    for a, b in zip(actual, expected, strict=True):
        if b is not None:  # each sample (or row of W) by its own size, which spans many orders
            assert ((a - b).abs() <= 2e-5 * b.abs().amax(1, keepdim=True)).all()
    logit_gradients = expected[0]
    assert (
        logit_gradients.sum(1).abs() <= 1e-10 * logit_gradients.abs().amax(1)
    ).all()  # shifting z changes nothing


def test_gradient_of_the_largest_eigenvalue_of_confident_samples():
    z = torch.tensor([[0.0, -60.0, -61.0]], dtype=torch.float64)
    phi = torch.ones(1, 1, dtype=torch.float64)
    (gradient,) = grads(lambda z: hessian_max_eigenvalue(z, phi), z)
    step = 1e-4 * torch.eye(3, dtype=torch.float64)
    expected = (
        hessian_max_eigenvalue(z + step, phi.expand(3, 1))
        - hessian_max_eigenvalue(z - step, phi.expand(3, 1))
    ) / 2e-4
    close(gradient[0], expected, rounding("head"))


@pytest.mark.parametrize("name", [n for n in ALL if "log" not in n])
def test_gradients_are_finite_where_the_result_is_zero(name):
    z = torch.tensor([[0.0, -math.inf, -math.inf], [0.0, -2000.0, -math.inf], [1.0, 1.0, -3.0]])
    phi, w = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]]), torch.ones(3, 2)
    for gradient in grads(ALL[name], z, phi, w):
        assert gradient is None or torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("name", "pair_weights"), [("log_paper", [1.0, 1.0]), ("log_neuronwise", [2.0, 1.0])]
)
def test_gradient_of_log_kappa_where_kappa_underflows(name, pair_weights):
    z, phi, w = torch.tensor([[0.0, -2000.0, -2001.0]]), torch.ones(1, 2), torch.eye(3)[:, :2]
    e = torch.tensor(pair_weights) * torch.tensor([0.0, -1.0]).exp()
    expected = torch.cat([torch.tensor([-1.0]), e / e.sum()])[None]
    gradients = grads(ALL[name], z, phi, w)
    torch.testing.assert_close(gradients[0], expected, rtol=rounding("head"), atol=rounding("head"))
    assert all(torch.isfinite(g).all() for g in gradients)
