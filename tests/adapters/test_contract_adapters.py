"""The contract of every adapter: equal numbers on every path, and an untouched estimator."""

import copy
import os
import pickle
import random

import numpy as np
import pytest
import references
import torch
from adapter_cases import CASES, D, N, torch_classifier
from art import config
from tolerances import close, near
from torch import nn

import art_flat as af
from art_flat.errors import InputError


def samples(n=N):
    return np.random.default_rng(0).random((n, D)).astype(np.float32)


@pytest.fixture(params=CASES)
def net(request):
    return af.adapt(CASES[request.param]())


def quantities(net, x, **options):
    y = np.arange(len(x)) % net.nb_classes
    return {
        "logits": net.logits(x, **options),
        "features": net.features(x, **options),
        "predict": net.predict(x, **options),
        "loss": net.loss(x, y, **options),
        "trace": net.hessian_trace(x, **options),
        **{
            d: net.relative_sharpness(x, definition=d, **options)
            for d in ("paper", "neuronwise", "unsquared")
        },
        "log": net.log_relative_sharpness(x, **options),
    }


class TestNumbers:
    def test_shapes_and_types(self, net):
        k, d = net.head.weight.shape
        shapes = {"logits": (N, k), "features": (N, d)}
        for name, value in quantities(net, samples()).items():
            assert isinstance(value, np.ndarray)
            assert value.shape == shapes.get(name, (N,))
            assert np.isfinite(value).all()
            assert value.dtype == {"predict": np.int64, "loss": np.float64}.get(name, value.dtype)
        assert net.head.bias.shape == (k,)

    def test_against_references(self, net):
        z, phi = (t.double() for t in net.outputs(samples()))
        y = np.arange(N) % net.nb_classes
        losses = [references.cross_entropy(z[i], y[i]) for i in range(N)]
        np.testing.assert_allclose(net.loss(samples(), y), losses, **close("net"))
        weight, bias = net.head.weight.double(), net.head.bias.double()
        for i in range(3):
            hessian = references.weight_hessian(phi[i], weight, bias, int(y[i])).reshape(weight.numel(), -1)
            assert net.hessian_trace(samples())[i] == near(float(hessian.trace()), "head", scale=0)
        for definition in ("paper", "neuronwise", "unsquared"):
            expected = references.log_relative_sharpness(z, phi, weight, definition)
            np.testing.assert_allclose(
                net.log_relative_sharpness(samples(), definition=definition), expected, **close("head")
            )
            np.testing.assert_allclose(
                net.relative_sharpness(samples(), definition=definition),
                expected.exp(),
                **close("head", scale=0),
            )

    def test_torch_in_torch_out(self, net):
        expected = quantities(net, samples())
        for name, value in quantities(net, torch.as_tensor(samples())).items():
            assert isinstance(value, torch.Tensor)
            assert not value.requires_grad
            assert not value.is_inference()
            np.testing.assert_array_equal(value.numpy(), expected[name])

    def test_batch_size_and_order_do_not_matter(self, net):
        expected = quantities(net, samples())
        order = np.random.default_rng(3).permutation(N)
        for name, value in quantities(net, samples(), batch_size=2).items():
            np.testing.assert_allclose(value, expected[name], **close("net"))
        for name in ("logits", "log", "trace"):
            shuffled = quantities(net, samples()[order])[name]
            np.testing.assert_allclose(shuffled, expected[name][order], **close("net"))

    def test_label_forms(self, net):
        y = np.arange(N) % net.nb_classes
        for form in (np.eye(net.nb_classes)[y], torch.as_tensor(y), list(y), y[:, None]):
            np.testing.assert_array_equal(net.loss(samples(), form), net.loss(samples(), y))

    def test_features_are_not_kept(self, net):
        sizes = []
        forward = net.forward
        net.forward = lambda x: sizes.append(len(x)) or forward(x)
        net.log_relative_sharpness(samples(), batch_size=4)
        assert sizes == [4, 4, 1]

    def test_gradient_of_inputs_is_cut(self, net):
        x = torch.as_tensor(samples()).requires_grad_()
        assert not net.outputs(x).logits.requires_grad

    def test_inside_no_grad_and_inference_mode(self, net):
        expected = net.logits(samples())
        for mode in (torch.no_grad(), torch.inference_mode()):
            with mode:
                np.testing.assert_array_equal(net.logits(samples()), expected)


class TestBadInput:
    @pytest.mark.parametrize(
        ("x", "words"),
        [
            (samples()[:, :4], r"`x` must have shape \(n, 6\), got \(9, 4\)"),
            (samples()[0], r"`x` is one sample of shape \(6,\); pass a batch"),
            (samples()[:0], "`x` has no samples"),
            (
                np.where(np.arange(N)[:, None] == 2, np.nan, samples()),
                r"NaN or infinite values in sample\(s\) 2",
            ),
            (255 * samples(), "the classifier's clip_values are 0 to 1; rescale the inputs"),
        ],
    )
    def test_inputs(self, net, x, words):
        for function in (net.outputs, net.logits, net.relative_sharpness):
            with pytest.raises(InputError, match=words):
                function(x)
        with pytest.raises(InputError, match=words):
            net.loss(x, np.zeros(N, dtype=int))

    def test_rounding_at_the_edge_of_the_range_is_forgiven(self, net):
        x = np.where(samples() > 0.5, np.float32(1) + np.float32(2e-7), samples())
        assert np.isfinite(net.logits(x)).all()

    @pytest.mark.parametrize(
        ("y", "words"), [(np.full(N, 7), "labels from 7 to 7"), (np.zeros(N - 1), "8 labels for 9 samples")]
    )
    def test_labels(self, net, y, words):
        with pytest.raises(InputError, match=words):
            net.loss(samples(), y)

    def test_definition(self, net):
        with pytest.raises(InputError, match=r"unknown definition of relative sharpness 'papr'.*'paper'"):
            net.relative_sharpness(samples(), definition="papr")

    def test_single_sample(self, net):
        np.testing.assert_allclose(net.logits(samples()[:1]), net.logits(samples())[:1], **close("net"))


def state(net):
    """All of an estimator that attacks are known to change."""
    estimator = net.estimator
    known = {"attributes": dict(vars(estimator))}
    if isinstance(estimator.model, nn.Module):
        wrapper = estimator._model
        known["training"] = [m.training for m in wrapper.modules()]
        known["requires_grad"] = [p.requires_grad for p in wrapper.parameters()]
        known["grad"] = [
            p.grad if p.grad is None else (id(p.grad), p.grad.tolist()) for p in wrapper.parameters()
        ]
        known["buffers"] = [(id(b), b.tolist()) for b in wrapper.buffers()]
        known["weights"] = [p.tolist() for p in wrapper.parameters()]
        known["hooks"] = [
            [list(vars(m)[h]) for h in vars(m) if h.endswith("hooks") and vars(m)[h]]
            for m in wrapper.modules()
        ]
        known["reduction"] = estimator.loss.reduction
    return known


def generators():
    _, keys, position, *_ = np.random.get_state()
    return random.getstate(), torch.get_rng_state().tolist(), keys.tolist(), position


def frozen(net):
    """Training, with one frozen layer, one frozen parameter and gradients from the user's own training."""
    if isinstance(net.estimator.model, nn.Module):
        model = net.estimator.model.train()
        model[1].eval()
        model[0].weight.requires_grad_(False)
        model[4].weight.grad = torch.full_like(model[4].weight, 3.0)
        model[4].register_forward_hook(lambda module, args, output: None)
    return net


class TestLeavesThingsAlone:
    def test_adapt_and_every_method(self, net):
        net = frozen(net)
        before, drawn = state(net), generators()
        net = af.adapt(net.estimator)
        quantities(net, samples())
        x = torch.as_tensor(samples()).requires_grad_()
        net.as_module()(x).sum().backward()
        net.identity()
        with net.counting():
            net.logits(samples())
        assert state(net) == before
        assert generators() == drawn

    @pytest.mark.parametrize("fails", [False, True])
    def test_guard(self, net, fails):
        net = frozen(net)
        before = state(net)

        def havoc():
            vars(net.estimator)["_optimizer"] = "gone"
            vars(net.estimator)["_new"] = 1
            if isinstance(net.estimator.model, nn.Module):
                model = net.estimator.model
                net.estimator.class_gradient(samples(), 0)
                net.estimator.get_activations(samples(), "2", 4)
                net.estimator.loss.reduction = "none"
                model.train()
                model(torch.as_tensor(samples())).sum().backward()
                assert model[4].weight.grad is not None
                for parameter in model.parameters():
                    parameter.requires_grad_(not parameter.requires_grad)
                model[0].register_forward_pre_hook(lambda module, args: None)
                model[1].register_full_backward_hook(lambda module, a, b: None)
                model[1].running_var = torch.zeros(7)
            if fails:
                raise RuntimeError("attack failed")

        if fails:
            with pytest.raises(RuntimeError, match="attack failed"), net.guard():
                havoc()
        else:
            with net.guard():
                havoc()
        assert state(net) == before

    def test_activations_cache_keeps_its_hook(self):
        net = af.adapt(torch_classifier())
        net.estimator.get_activations(samples(), "2", 4)
        with net.guard():
            net.estimator.get_activations(samples(), "0", 4)
        assert set(net.estimator._features) == {"2"}
        inside = net.estimator.get_activations(samples(), "0", 4)
        np.testing.assert_allclose(
            inside, net.estimator.model[0](torch.as_tensor(samples())).detach(), **close("layer")
        )
        assert set(net.estimator._features) == {"2", "0"}

    def test_no_files_in_the_home_folder(self, net):
        folder = config.ART_DATA_PATH
        before = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        quantities(net, samples())
        with net.guard():
            copy.deepcopy(net.as_module())
        for copier in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="can be neither copied nor pickled"):
                copier(net)
        assert (sorted(os.listdir(folder)) if os.path.isdir(folder) else []) == before
