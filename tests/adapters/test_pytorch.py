"""The adapter of PyTorchClassifier computes what `predict` computes, and says why where it cannot."""

import copy

import numpy as np
import pytest
import torch
from art.defences.postprocessor import Rounded
from art.defences.preprocessor import GaussianAugmentation, JpegCompression, SpatialSmoothing
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing
from art.estimators.classification import PyTorchClassifier
from art.preprocessing.standardisation_mean_std.numpy import StandardisationMeanStd
from tolerances import close, rounding
from torch import nn

import art_flat as af
from art_flat.errors import HeadNotFoundError, InputError, UnsupportedEstimatorError

SHAPE = (2, 5, 5)
HIGH = np.linspace(1, 3, 50, dtype=np.float32).reshape(SHAPE)


def network(seed=0, k=4):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(27, k)
    )
    model[1].running_mean.uniform_(-1, 1)
    return model


def classifier(model=None, loss=None, cls=PyTorchClassifier, clip_values=(0.0, 1.0), **options):
    options = {"input_shape": SHAPE, "nb_classes": 4, "device_type": "cpu"} | options
    return cls(model or network(), loss=loss or nn.CrossEntropyLoss(), clip_values=clip_values, **options)


def samples(n=6, scale=1.0, seed=0):
    return (np.random.default_rng(seed).random((n, *SHAPE)) * scale).astype(np.float32)


class Blur(PreprocessorPyTorch):
    """A defence in torch that can be differentiated."""

    params = ["size"]  # noqa: RUF012

    def __init__(self, size=3):
        super().__init__(device_type="cpu", is_fitted=True, apply_fit=False, apply_predict=True)
        self.size = size

    def forward(self, x, y=None):
        return torch.nn.functional.avg_pool2d(x, self.size, 1, self.size // 2), y


class Rounding(Blur):
    """A defence in torch whose gradient is zero, with an estimate of its own."""

    def forward(self, x, y=None):
        return torch.round(x * 4) / 4, y

    def estimate_forward(self, x, y=None):
        return 2 * x


PREPROCESSING = {
    "none": {"preprocessing": None},
    "default": {},
    "channels": {"preprocessing": (np.array([0.4, 0.6]), np.array([0.2, 0.3]))},
    "numpy standardisation": {"preprocessing": StandardisationMeanStd(mean=0.3, std=0.5)},
    "torch defence": {"preprocessing_defences": [Blur()], "preprocessing": (0.5, 0.25)},
    "two torch defences": {"preprocessing_defences": [Blur(), Rounding()], "preprocessing": (0.5, 0.25)},
    "numpy defence": {
        "preprocessing_defences": SpatialSmoothing(3, channels_first=True),
        "preprocessing": None,
    },
    "numpy defence, mean/std": {
        "preprocessing_defences": SpatialSmoothing(3, channels_first=True),
        "preprocessing": (0.5, 0.25),
    },
    "only when fitting": {"preprocessing_defences": GaussianAugmentation(apply_predict=False)},
}


class TestSeesWhatPredictSees:
    @pytest.mark.parametrize("name", PREPROCESSING)
    def test_preprocessing(self, name):
        estimator = classifier(**PREPROCESSING[name])
        net = af.adapt(estimator)
        z = net.logits(samples())
        np.testing.assert_allclose(z, estimator.predict(samples()), **close("net"))
        plain = classifier(preprocessing=None).predict(samples())
        assert np.allclose(z, plain, atol=1e-4) == (name in {"none", "default", "only when fitting"})

    @pytest.mark.parametrize("clip", [(0, 255), (-1.0, 1.0), None, (np.zeros(SHAPE), HIGH)])
    def test_clip_values(self, clip):
        estimator = classifier(clip_values=clip, preprocessing=(100.0, 50.0))
        net = af.adapt(estimator)
        np.testing.assert_allclose(net.logits(samples()), estimator.predict(samples()), **close("net"))
        if clip is None:
            assert net.clip_values is None
        else:
            np.testing.assert_array_equal(np.asarray(net.clip_values), np.asarray(clip))

    @pytest.mark.parametrize("shape", [(1,), (2, 1, 1), (1, 2, 1, 1), (1, 5), SHAPE])
    def test_arrays_of_equal_clip_values_are_one_pair(self, shape):
        net, plain = (
            af.adapt(classifier(clip_values=clip)) for clip in [(np.zeros(shape), np.ones(shape)), (0, 1)]
        )
        assert net.clip_values == (0.0, 1.0)
        assert net.identity() == plain.identity()
        y = np.arange(6) % 4
        points = [
            af.load_attack("torchattacks:PGD(steps=2)")(n, samples(), y, delta=0.1).x for n in (net, plain)
        ]
        np.testing.assert_array_equal(*points)

    def test_clip_values_per_channel(self):
        high = np.array([1.0, 0.5]).reshape(2, 1, 1)
        for low, top in [(np.zeros((2, 1, 1)), high), (np.zeros((1, 2, 1, 1)), high[None])]:
            net = af.adapt(classifier(clip_values=(low, top)))
            result = af.load_attack("art_flat:PGD(steps=2)")(net, samples() / 2, np.zeros(6, int), delta=0.3)
            assert (result.x.max(axis=(0, 2, 3)) <= [1.0, 0.5]).all()
            with pytest.raises(InputError, match=r"clip_values are 0 to 0\.5…1"):
                net.logits(samples())

    @pytest.mark.parametrize("n", [2, 3])
    def test_clip_values_that_do_not_fit(self, n):
        estimator = classifier(clip_values=(np.zeros(n), np.linspace(1, 2, n)))
        words = rf"clip_values have the shape \({n},\).*one value per channel as \(2, 1, 1\)"
        with pytest.raises(UnsupportedEstimatorError, match=words):
            af.adapt(estimator)
        with pytest.raises(UnsupportedEstimatorError, match="clip_values are NaN"):
            af.adapt(classifier(clip_values=(0, np.nan)))

    def test_features_by_hand(self):
        model = network()
        net = af.adapt(classifier(model, preprocessing=(0.5, 0.25)))
        model.train()
        phi = net.features(torch.as_tensor(samples()))
        model.eval()
        expected = model[:-1]((torch.as_tensor(samples()) - 0.5) / 0.25)
        torch.testing.assert_close(phi, expected.detach(), **close("net"))

    def test_change_of_the_weights_is_followed(self):
        model = network()
        estimator = classifier(model)
        net = af.adapt(estimator)
        with torch.no_grad():
            model[-1].weight.mul_(3)
        assert torch.equal(net.head.weight, model[-1].weight)
        np.testing.assert_allclose(net.logits(samples()), estimator.predict(samples()), **close("net"))

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
    def test_dtype_of_the_model(self, dtype):
        net = af.adapt(classifier(network().to(dtype), preprocessing=(0.5, 0.25)))
        z, phi = net.outputs(samples())
        assert net.dtype == z.dtype == phi.dtype == dtype
        single = af.adapt(classifier(preprocessing=(0.5, 0.25)))
        tolerance = rounding("value", dtype) + rounding("net")  # of what is stored, and of what both add
        torch.testing.assert_close(z.float(), single.outputs(samples()).logits, rtol=0, atol=4 * tolerance)
        assert np.isfinite(net.log_relative_sharpness(samples())).all()

    def test_outputs_are_ordinary_tensors(self):
        net = af.adapt(classifier())
        for tensor in (*net.outputs(samples()), *net.forward(torch.as_tensor(samples()))):
            assert not tensor.is_inference()
            assert not tensor.requires_grad

    def test_random_defence_draws_like_predict(self):
        estimator = classifier(
            preprocessing_defences=GaussianAugmentation(sigma=0.2, augmentation=False, apply_predict=True)
        )
        net = af.adapt(estimator)
        results = []
        for function in (net.logits, estimator.predict, net.logits):
            np.random.seed(3)
            results.append(function(samples()))
        np.testing.assert_allclose(results[0], results[1], **close("net"))
        np.testing.assert_array_equal(results[0], results[2])
        position = np.random.get_state()[2]
        af.adapt(estimator)
        assert np.random.get_state()[2] == position


class TestSubclasses:
    def test_predict_that_casts_is_accepted(self):
        class Casting(PyTorchClassifier):
            def predict(self, x, **kwargs):
                return super().predict(x.astype(np.float32), **kwargs)

        estimator = classifier(cls=Casting)
        np.testing.assert_allclose(
            af.adapt(estimator).logits(samples()), estimator.predict(samples()), **close("net")
        )

    def test_predict_that_differs_is_refused(self):
        class Doubling(PyTorchClassifier):
            def predict(self, x, **kwargs):
                return 2 * super().predict(x, **kwargs)

        with pytest.raises(
            UnsupportedEstimatorError, match=r"Doubling\.predict returns something else than its model does"
        ):
            af.adapt(classifier(cls=Doubling))

    def test_randomised_smoothing_is_refused(self, capsys):
        estimator = classifier(cls=PyTorchRandomizedSmoothing, sample_size=8, scale=0.3, alpha=0.01)
        with pytest.raises(UnsupportedEstimatorError, match="PyTorchRandomizedSmoothing"):
            af.adapt(estimator)
        capsys.readouterr()


class TestModule:
    @pytest.mark.parametrize("name", PREPROCESSING)
    def test_same_logits(self, name):
        net = af.adapt(classifier(**PREPROCESSING[name]))
        module = net.as_module(estimate_gradients=True)
        torch.testing.assert_close(
            module(torch.as_tensor(samples())), net.outputs(samples()).logits, **close("net")
        )

    @pytest.mark.parametrize("name", ["none", "channels", "numpy standardisation", "torch defence"])
    def test_gradient_by_finite_differences(self, name):
        net = af.adapt(classifier(network().double(), **PREPROCESSING[name]))
        module, x = net.as_module(), torch.as_tensor(samples(2)).double().requires_grad_()
        gradient = torch.autograd.grad(module(x)[:, 1].sum(), x)[0]
        towards = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()
        h = 1e-6 if name != "numpy standardisation" else 1e-3  # that one rounds to float32
        with torch.no_grad():
            change = (module(x + h * towards) - module(x - h * towards))[:, 1].sum() / (2 * h)
        assert float((gradient * towards).sum()) == pytest.approx(float(change), rel=1e-3)

    @pytest.mark.parametrize("name", ["default", "channels", "numpy defence", "numpy defence, mean/std"])
    def test_gradient_is_arts(self, name):
        estimator = classifier(**PREPROCESSING[name])
        net, labels = af.adapt(estimator), np.array([0, 1, 2, 3, 0, 1])
        x = torch.as_tensor(samples()).requires_grad_()
        module = net.as_module(estimate_gradients=True)
        nn.functional.cross_entropy(module(x), torch.as_tensor(labels)).backward()
        with net.guard():
            expected = estimator.loss_gradient(samples(), np.eye(4, dtype=np.float32)[labels])
        np.testing.assert_allclose(x.grad, expected, **close("gradient"))

    def test_estimate_of_a_numpy_defence_is_its_own(self):
        class Tripled(SpatialSmoothing):
            def estimate_gradient(self, x, grad):
                return 3 * grad

        model = nn.Sequential(nn.Flatten(), nn.Linear(50, 4))
        net = af.adapt(classifier(model, preprocessing_defences=Tripled(3, True), preprocessing=None))
        x = torch.as_tensor(samples(1)).requires_grad_()
        net.as_module(estimate_gradients=True)(x)[0, 2].backward()
        torch.testing.assert_close(x.grad.flatten(), 3 * net.head.weight[2], **close("layer"))

    def test_estimated_forward_gives_gradient_but_not_value(self):
        net = af.adapt(
            classifier(
                nn.Sequential(nn.Flatten(), nn.Linear(50, 4)),
                preprocessing_defences=Rounding(),
                preprocessing=None,
            )
        )
        x = torch.as_tensor(samples(1)).requires_grad_()
        z = net.as_module(estimate_gradients=True)(x)
        torch.testing.assert_close(z, net.outputs(samples(1)).logits, **close("net"))
        z[0, 2].backward()
        torch.testing.assert_close(x.grad.flatten(), 2 * net.head.weight[2], **close("layer"))

    @pytest.mark.parametrize(
        ("name", "culprit"), [("numpy defence", "SpatialSmoothing"), ("two torch defences", "Rounding")]
    )
    def test_defence_without_gradient_is_refused(self, name, culprit):
        net = af.adapt(classifier(**PREPROCESSING[name]))
        with pytest.raises(
            UnsupportedEstimatorError, match=rf"{culprit} has no gradient.*estimate_gradients=True"
        ):
            net.as_module()

    def test_unit_range(self):
        net = af.adapt(classifier(clip_values=(-3, 7), preprocessing=(2.0, 5.0)))
        x = torch.as_tensor(samples())
        z = net.as_module(unit_range=True)(x.requires_grad_())
        torch.testing.assert_close(z, net.outputs(10 * x.detach() - 3).logits, **close("net", scale=10))
        plain = (10 * x.detach() - 3).requires_grad_()
        expected = torch.autograd.grad(net.as_module()(plain).sum(), plain)[0]
        torch.testing.assert_close(torch.autograd.grad(z.sum(), x)[0], 10 * expected, **close("gradient"))

    def test_unit_range_needs_clip_values(self):
        with pytest.raises(InputError, match="unit_range=True needs the range of the inputs"):
            af.adapt(classifier(clip_values=None)).as_module(unit_range=True)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
    def test_inputs_of_another_type(self, dtype):
        module = af.adapt(classifier()).as_module()
        x = torch.as_tensor(samples()).to(dtype).requires_grad_()
        z = module(x)
        assert z.dtype == torch.float32
        z.sum().backward()
        assert x.grad.dtype == dtype

    def test_eval_mode_whatever_it_is_told(self):
        model = network()
        net = af.adapt(classifier(model))
        module, x = net.as_module(), torch.as_tensor(samples())
        for told in (module.train, model.train, module.eval):
            told()
            statistics, modes = model[1].running_mean.clone(), [m.training for m in model.modules()]
            torch.testing.assert_close(module(x), net.logits(x), **close("net"))
            assert not module.training
            assert torch.equal(model[1].running_mean, statistics)
            assert [m.training for m in model.modules()] == modes

    def test_no_gradient_in_the_parameters(self):
        model = network()
        module = af.adapt(classifier(model)).as_module()
        module(torch.as_tensor(samples()).requires_grad_()).sum().backward()
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
        assert next(module.parameters()) is model[0].weight

    def test_nan_stays_nan(self):
        x = torch.as_tensor(samples())
        x[2, 0, 0, 0] = torch.nan
        z = af.adapt(classifier()).as_module()(x)
        assert torch.isnan(z[2]).all()
        assert torch.isfinite(z[[0, 1, 3, 4, 5]]).all()

    def test_can_be_copied(self):
        net = af.adapt(classifier(network(), nn.CrossEntropyLoss(), preprocessing_defences=Blur()))
        module = net.as_module()
        twin = copy.deepcopy(module)
        with torch.no_grad():
            next(twin.parameters()).zero_()
        x = torch.as_tensor(samples())
        torch.testing.assert_close(module(x), net.logits(x), **close("net"))
        assert not torch.allclose(twin(x), module(x))


class TestCounting:
    def test_forwards_and_backwards(self):
        net = af.adapt(classifier())
        module = net.as_module()
        with net.counting() as passes:
            net.logits(samples(6), batch_size=4)
            assert (passes.forwards, passes.backwards) == (6, 0)
            module(torch.as_tensor(samples(3)).requires_grad_()).sum().backward()
            assert (passes.forwards, passes.backwards) == (9, 3)
            net.estimator.predict(samples(5))
            assert passes.forwards == 14
            net.estimator.loss_gradient(samples(2), np.eye(4, dtype=np.float32)[:2])
            assert (passes.forwards, passes.backwards) == (16, 5)
        net.logits(samples(6))
        assert passes.forwards == 16


class TestMemory:
    class Small(nn.Module):
        """Runs out of memory above a number of samples."""

        def __init__(self, most, error):
            super().__init__()
            torch.manual_seed(0)
            self.fc, self.most, self.error, self.seen = nn.Linear(50, 4), most, error, []

        def forward(self, x):
            self.seen.append(len(x))
            if len(x) > self.most:
                raise self.error
            return self.fc(x.flatten(1))

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory"),
            RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            ),
            MemoryError(),
        ],
    )
    def test_batches_are_halved_and_the_size_is_remembered(self, error):
        model = self.Small(5, error)
        estimator = classifier(model)
        net = af.adapt(estimator)
        model.seen.clear()
        z = net.logits(samples(11))
        assert model.seen == [11, 5, 5, 1]
        model.most = 11
        np.testing.assert_allclose(z, estimator.predict(samples(11)), **close("net"))
        model.seen.clear()
        net.logits(samples(11))
        assert model.seen == [5, 5, 1]

    def test_one_sample_too_many(self):
        model = self.Small(5, torch.OutOfMemoryError("CUDA out of memory"))
        net = af.adapt(classifier(model))
        model.most = 0
        with pytest.raises(torch.OutOfMemoryError) as caught:
            net.logits(samples(4))
        assert "memory ran out with a single sample" in caught.value.__notes__[0]
        assert model.seen[-3:] == [4, 2, 1]

    def test_other_errors_pass(self):
        model = self.Small(5, RuntimeError("something else"))
        with pytest.raises(RuntimeError, match="something else"):
            af.adapt(classifier(model)).logits(samples(6))

    @pytest.mark.parametrize("size", [0, 2.5, -1, "many"])
    def test_batch_size_is_checked(self, size):
        with pytest.raises(InputError, match="`batch_size` must be"):
            af.adapt(classifier()).logits(samples(), batch_size=size)


class TestRefused:
    @pytest.mark.parametrize("loss", [nn.MSELoss(), nn.MultiMarginLoss(), lambda z, y: 0])
    def test_loss(self, loss):
        name = type(loss).__name__
        with pytest.raises(
            UnsupportedEstimatorError, match=rf"loss is {name}, expected one of CrossEntropyLoss, NLLLoss"
        ):
            af.adapt(classifier(loss=loss))

    @pytest.mark.parametrize(
        ("tail", "k", "loss", "words"),
        [
            (
                [],
                4,
                nn.NLLLoss(),
                "NLLLoss, but the model returns logits with 4 outputs .* is CrossEntropyLoss",
            ),
            ([nn.Softmax(1)], 4, nn.NLLLoss(), "NLLLoss, but the model returns softmax with 4 outputs"),
            ([], 4, nn.BCEWithLogitsLoss(), "BCEWithLogitsLoss, but the model returns logits with 4 outputs"),
            ([], 1, nn.CrossEntropyLoss(), "logits with 1 output per sample, .* is BCEWithLogitsLoss"),
            ([nn.Sigmoid()], 1, nn.BCEWithLogitsLoss(), "sigmoid with 1 output per sample, .* is BCELoss"),
        ],
    )
    def test_loss_that_does_not_fit_the_output(self, tail, k, loss, words):
        model = nn.Sequential(*network(k=k), *tail)
        with pytest.raises(UnsupportedEstimatorError, match=words):
            af.adapt(classifier(model, loss, nb_classes=max(k, 2)))

    def test_postprocessing(self):
        with pytest.raises(
            UnsupportedEstimatorError, match=r"postprocessing defences \(Rounded\): they change what predict"
        ):
            af.adapt(classifier(postprocessing_defences=Rounded()))
        af.adapt(classifier(postprocessing_defences=Rounded(apply_predict=False)))

    def test_chain_that_art_cannot_run(self):
        defences = [SpatialSmoothing(3, channels_first=True), Blur()]
        with pytest.raises(
            UnsupportedEstimatorError, match="ART cannot chain the preprocessing SpatialSmoothing, Blur"
        ):
            af.adapt(classifier(preprocessing_defences=defences))

    def test_bare_module(self):
        with pytest.raises(
            UnsupportedEstimatorError,
            match=r"Sequential is a bare nn.Module .*as_classifier\(model, input_shape=",
        ):
            af.adapt(network())

    @pytest.mark.parametrize("thing", [None, "model", 3.0, JpegCompression])
    def test_something_else(self, thing):
        known = "PyTorchClassifier, ScikitlearnClassifier, ScikitlearnLogisticRegression"
        with pytest.raises(UnsupportedEstimatorError, match=rf"no adapter for .*{known}.*adapt.register\("):
            af.adapt(thing)

    def test_error_leaves_the_model_alone(self):
        model = network().train()
        model[1].eval()
        with pytest.raises(HeadNotFoundError):
            af.adapt(classifier(nn.Sequential(*model, nn.ReLU())))
        assert [m.training for m in model] == [True, False, True, True, True, True]
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
