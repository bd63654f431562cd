"""The penalty is λ · mean κ, its gradient is right in every parameter, and the model is left unchanged."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from art_flat.datasets import load_dataset
from art_flat.errors import HeadNotFoundError, InputError, UnknownNameError
from art_flat.models import digits_cnn, fcn
from art_flat.regularization import FlatnessRegularizer

DEFINITIONS = ("paper", "neuronwise", "unsquared")


def network(k=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, k)).double()


def samples(n=6):
    return torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def penalty_of(model, x, strength=1.0, **options):
    with FlatnessRegularizer(model, strength, **options) as penalty:
        return penalty(model(x))


def mean_kappa(model, x, definition):
    """By hand, sample by sample."""
    phi = model[:-1](x)
    w, z = model[-1].weight, model(x)
    if len(w) == 1:
        w, z = torch.cat([-w / 2, w / 2]), torch.cat([-z / 2, z / 2], dim=1)
    total = 0.0
    for p, f in zip(z.softmax(dim=1), phi, strict=True):
        trace = (p * (1 - p)).sum()
        if definition == "neuronwise":
            h = torch.diag(p) - torch.outer(p, p)
            total = total + ((w @ w.T) * h).sum() * (f**2).sum()
        else:
            total = total + (w**2).sum() ** (1.0 if definition == "paper" else 0.5) * (f**2).sum() * trace
    return total / len(x)


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("k", [1, 2, 3])
class TestGradient:
    def test_value_and_gradient_by_autograd_of_the_definition(self, definition, k):
        model, x = network(k), samples()
        value = penalty_of(model, x, 0.3, definition=definition)
        expected = 0.3 * mean_kappa(model, x, definition)
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
        parameters = list(model.parameters())
        seen, right = (torch.autograd.grad(v, parameters, retain_graph=True) for v in (value, expected))
        for a, b in zip(seen, right, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)

    def test_gradient_by_finite_differences(self, definition, k):
        model, x = network(k), samples()
        value = penalty_of(model, x, definition=definition)
        for parameter in model.parameters():
            gradient = torch.autograd.grad(value, parameter, retain_graph=True)[0].flatten()
            assert (gradient != 0).any()
            for i in range(parameter.numel()):
                h, flat = 1e-6, parameter.data.view(-1)
                flat[i] += h
                up = penalty_of(model, x, definition=definition)
                flat[i] -= 2 * h
                down = penalty_of(model, x, definition=definition)
                flat[i] += h
                numeric = float((up - down).detach() / (2 * h))
                assert float(gradient[i]) == pytest.approx(numeric, rel=1e-5, abs=1e-8)


class TestUse:
    @pytest.mark.slow
    def test_training_with_it_ends_flatter(self):
        data = load_dataset("digits", split="train", n=300)
        x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)

        def trained(strength):
            model = digits_cnn()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
            with FlatnessRegularizer(model, strength) as penalty:
                for step in range(80):
                    rows = slice(60 * (step % 5), 60 * (step % 5) + 60)
                    logits = model(x[rows])
                    loss = nn.functional.cross_entropy(logits, y[rows]) + penalty(logits)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            with torch.no_grad():
                right = float((model(x).argmax(dim=1) == y).double().mean())
                return float(penalty_of(model, x)), right

        plain, flat = trained(0.0), trained(1e-3)
        assert flat[0] < 0.5 * plain[0]
        assert min(plain[1], flat[1]) > 0.8

    def test_one_forward_pass_and_the_hook_is_gone(self):
        model, calls = network(), []
        model[-1].register_forward_hook(lambda *_: calls.append(1))
        hooks = len(model[-1]._forward_hooks)
        penalty_of(model, samples())
        assert calls == [1]
        assert len(model[-1]._forward_hooks) == hooks

        def fail():
            with FlatnessRegularizer(model, 1.0):
                raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            fail()
        assert len(model[-1]._forward_hooks) == hooks

    def test_logistic_model_that_returns_a_vector(self):
        model, x = network(1), samples()
        with FlatnessRegularizer(model, 1.0) as penalty:
            flat = penalty(model(x)[:, 0])
        torch.testing.assert_close(flat, penalty_of(model, x))

    def test_half_precision_is_computed_in_float32(self):
        model, x = fcn(4, (8,), 3), torch.rand(5, 4)
        expected = penalty_of(model, x).detach()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = penalty_of(model, x).detach()
        assert value.dtype == torch.float32
        assert float(value) == pytest.approx(float(expected), rel=0.05)

    def test_head_by_name(self):
        class TwoOutputs(nn.Module):
            def __init__(self):
                super().__init__()
                self.head, self.other = nn.Linear(4, 3), nn.Linear(4, 2)

            def forward(self, x):
                self.other(x)
                return self.head(x)

        model, x = TwoOutputs(), torch.rand(5, 4)
        assert penalty_of(model, x, head="head") > 0
        with pytest.raises(InputError, match=r"not the output of the layer 'other'.*head=\"name\""):
            penalty_of(model, x)
        with pytest.raises(HeadNotFoundError, match=r"no nn\.Linear called 'fc'; it has 'head', 'other'"):
            FlatnessRegularizer(model, 1.0, head="fc")

    def test_dead_features_have_a_gradient(self):
        model = network()
        with torch.no_grad():
            model[0].weight.zero_()
            model[0].bias.zero_()
        gradients = torch.autograd.grad(penalty_of(model, samples()), list(model.parameters()))
        assert all(bool(torch.isfinite(g).all()) for g in gradients)


class TestBadUse:
    def test_asked_without_a_forward_pass(self):
        model, x = network(), samples()
        penalty = FlatnessRegularizer(model, 1.0)
        logits = model(x)
        with pytest.raises(InputError, match="no forward pass to penalise"):
            penalty(logits)
        with penalty:
            with pytest.raises(InputError, match="no forward pass to penalise"):
                penalty(logits)
            logits = model(x)
            penalty(logits)
            with pytest.raises(InputError, match="no forward pass to penalise"):
                penalty(logits)

    def test_other_logits(self):
        model, x = network(), samples()
        with FlatnessRegularizer(model, 1.0) as penalty:
            logits = model(x).softmax(dim=1)
            with pytest.raises(InputError, match="not the output of the layer '2'"):
                penalty(logits)

    def test_entered_twice(self):
        penalty = FlatnessRegularizer(network(), 1.0)
        with penalty, pytest.raises(InputError, match="already in use"):
            penalty.__enter__()

    def test_parameters(self):
        with pytest.raises(InputError, match="`strength` must be at least 0"):
            FlatnessRegularizer(network(), -1)
        with pytest.raises(InputError, match="`strength` must be finite"):
            FlatnessRegularizer(network(), np.nan)
        with pytest.raises(UnknownNameError, match="did you mean 'paper'"):
            FlatnessRegularizer(network(), 1, definition="papr")
        with pytest.raises(HeadNotFoundError, match=r"Conv2d has no nn\.Linear"):
            FlatnessRegularizer(nn.Conv2d(1, 1, 1), 1)


class TestSpectralNorm:
    def test_the_weight_of_the_forward_pass_and_no_further_power_iteration(self):
        model, x = network(), samples()
        spectral_norm(model[-1])
        alone = copy.deepcopy(model)
        alone(x)
        expected = mean_kappa(alone.eval(), x, "paper")
        value = penalty_of(model, x)
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, alone.state_dict()[name]), name
        parameters = [list(m.parameters()) for m in (model, alone)]
        for a, b in zip(
            torch.autograd.grad(value, parameters[0]),
            torch.autograd.grad(expected, parameters[1]),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)

    def test_training_step_and_hooks_are_gone(self):
        model, x = network(), samples()
        spectral_norm(model[-1])
        with parametrize.cached():
            value = penalty_of(model, x)
        value.backward()
        assert model[-1].parametrizations.weight.original.grad is not None
        assert not model[-1].parametrizations.weight._forward_hooks
