import pytest
import torch

from art_flat.functional import feature_gradient_norm


@pytest.mark.parametrize("k", [1, 2, 7])
def test_against_autograd(k):
    g = torch.Generator().manual_seed(k)
    weight = torch.randn(k, 5, generator=g, dtype=torch.float64)
    features = torch.randn(20, 5, generator=g, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, max(k, 2), (20,), generator=g)
    logits = features @ weight.T
    rows = logits if k > 1 else torch.cat([torch.zeros_like(logits), logits], 1)
    loss = torch.nn.functional.cross_entropy(rows, labels, reduction="sum")
    expected = torch.autograd.grad(loss, features)[0].norm(dim=1)
    torch.testing.assert_close(
        feature_gradient_norm(logits.detach(), weight, labels), expected, rtol=1e-10, atol=1e-12
    )


def test_a_certain_model_still_has_a_gradient():
    """p_y − 1 is 0 in float64 at a gap of 100 nats; the norm is e⁻¹⁰⁰ ‖w_1 − w_0‖ all the same."""
    weight = torch.eye(2, dtype=torch.float64)
    found = feature_gradient_norm(torch.tensor([[100.0, 0.0]]), weight, torch.tensor([0]))
    torch.testing.assert_close(found, torch.exp(torch.tensor([-100.0], dtype=torch.float64)) * 2**0.5)
