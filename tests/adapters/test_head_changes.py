"""Layers after the head are identified at every call, and unsuitable heads are rejected for the right reason."""

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn
from torch.nn.utils import parametrizations

import art_flat as af
from art_flat.adapters.recipe import PartsRecipe
from art_flat.errors import HeadNotFoundError, UnsupportedEstimatorError
from art_flat.models import as_classifier


class Model(nn.Module):
    """6 inputs, 8 features, 3 logits, and after them what the attributes say."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fc = nn.Linear(6, 8), nn.Linear(8, 3)
        self.temperature, self.after, self.factor = nn.Parameter(torch.ones(())), "nothing", 1.0

    def forward(self, x):
        z = self.fc(torch.tanh(self.body(x)))
        if self.after == "temperature":
            return z / self.temperature
        if self.after == "in place":
            return z.mul_(self.factor)
        if self.after == "softmax":
            return (z * self.factor).softmax(1)
        if self.after == "in place, then softmax":
            return z.mul_(self.factor).softmax(1)
        return z.relu() if self.after == "relu" else z


def adapted(model, k=3, shape=(6,)):
    return af.adapt(as_classifier(model, input_shape=shape, nb_classes=k))


def truth(model, x, scale):
    """κ = ‖W‖² ‖φ‖² Σ p(1−p) and W φ + b in float64, for the head scaled by `scale`."""
    phi = torch.tanh(x.double() @ model.body.weight.double().T + model.body.bias.double()).detach()
    weight, bias = model.fc.weight.double().detach() * scale, model.fc.bias.double().detach() * scale
    z = phi @ weight.T + bias
    p = z.softmax(1)
    return z, weight.square().sum() * phi.square().sum(1) * (p * (1 - p)).sum(1)


def settings(after, value):
    if after == "temperature":
        return {"after": after, "temperature": nn.Parameter(torch.tensor(1 / value))}
    return {"after": after, "factor": value}


AFTER = ["temperature", "in place", "softmax", "in place, then softmax"]


@pytest.mark.parametrize("later", AFTER)
@pytest.mark.parametrize("first", ["nothing", *AFTER])
def test_what_stands_after_the_head_is_read_at_every_call(first, later):
    model, x = Model(), torch.rand(5, 6)
    vars(model).update(settings(first, 1.0) if first != "temperature" else {"after": first})
    net = adapted(model)
    earlier = net.as_module()
    for scale in (2.5, 0.4):
        changes = settings(later, scale)
        with torch.no_grad():
            model.temperature.copy_(changes.pop("temperature", model.temperature))
        vars(model).update(changes)
        logits, kappa = truth(model, x, scale)
        close = {"rtol": 1e-4, "atol": 1e-5, "check_dtype": False}
        for ask in (
            lambda: net.relative_sharpness(x),
            lambda: net.log_relative_sharpness(x).exp(),
            lambda: net.measure(x)["kappa_paper"],
        ):
            torch.testing.assert_close(ask(), kappa, **close)
        torch.testing.assert_close(net.head.weight, model.fc.weight.detach() * scale, **close)
        torch.testing.assert_close(net.logits(x), logits, **close)
        torch.testing.assert_close(earlier(x).detach(), logits, **close)
        torch.testing.assert_close(net.as_module()(x).detach(), logits, **close)
        vars(model).update(after="nothing")
        torch.testing.assert_close(net.relative_sharpness(x), truth(model, x, 1.0)[1], **close)


@pytest.mark.parametrize(
    "ask", [lambda n, x: n.head, lambda n, x: n.logits(x), lambda n, x: n.as_module()(x)]
)
def test_another_head_or_a_tail_that_cannot_be_followed_says_adapt_again(ask):
    x = torch.rand(2, 6)
    model = Model()
    net = adapted(model)
    model.fc = nn.Linear(8, 3)
    with pytest.raises(HeadNotFoundError, match=r"no longer calls the head 'fc'.* adapt again"):
        ask(net, x)
    model = Model()
    net = adapted(model)
    model.after = "relu"
    with pytest.raises(
        HeadNotFoundError, match=r"after the head 'fc'.* changed after adapt\(\).* adapt again"
    ):
        ask(net, x)


class Lower(Model):
    """The same with its layers in bfloat16, and what it returns in float32."""

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            z = self.fc(torch.tanh(self.body(x)))
        return self.tail(z)


TAILS = {
    "float": (lambda z: z.float(), 1.0),
    "temperature": (lambda z: z.float() / 4, 0.25),
    "softmax": (lambda z: z.float().softmax(1), 1.0),
    "in place": (lambda z: z.mul_(2).float(), 2.0),
}


@pytest.mark.parametrize("tail", TAILS)
def test_heads_under_autocast(tail):
    model, x = Lower(), torch.rand(5, 6, generator=torch.Generator().manual_seed(1))
    model.tail, scale = TAILS[tail]
    _, kappa = truth(model, x, scale)
    assert adapted(model).relative_sharpness(x).double() == pytest.approx(kappa, rel=0.05)


def test_features_that_are_not_finite_are_reported_as_such():
    with pytest.raises(HeadNotFoundError, match="the features passed to '1' are NaN or infinite"):
        adapted(nn.Sequential(Overflow(), nn.Linear(6, 3)))


class Overflow(nn.Module):
    def forward(self, x):
        return (x + 1e6).half().float()


class Squeezing(nn.Module):
    def __init__(self, k, inside):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fc, self.inside = nn.Linear(4, 5), nn.Linear(5, k), inside

    def forward(self, x):
        h = torch.tanh(self.body(x))[:, :, None, None]
        return self.fc(h.squeeze()) if self.inside else self.fc(h.flatten(1)).squeeze()


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_models_that_squeeze_a_batch_of_one(k, inside):
    """As in a batch of several, and with gradients."""
    model, x = Squeezing(k, inside), torch.rand(4, 4)
    loss = nn.BCEWithLogitsLoss() if k == 1 else nn.CrossEntropyLoss()
    net = af.adapt(PyTorchClassifier(model, loss, (4,), max(k, 2), clip_values=(0, 1), device_type="cpu"))
    for name in ("logits", "features", "relative_sharpness", "predict"):
        ask = getattr(net, name)
        torch.testing.assert_close(torch.cat([ask(x[i : i + 1]) for i in range(4)]), ask(x))
    one = x[:1].clone().requires_grad_()
    net.as_module()(one)[0, 0].backward()
    several = x.clone().requires_grad_()
    net.as_module()(several)[0, 0].backward()
    torch.testing.assert_close(one.grad, several.grad[:1])


class Masked(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.weight * torch.tensor([1.0, 0.0] * 4), self.bias)


class Plain(nn.Linear):
    pass


def test_wrong_heads_are_refused_for_the_right_reason():
    model = Model()
    model.fc = Masked(8, 3)
    with pytest.raises(HeadNotFoundError, match=r"'fc' is a Masked, an nn\.Linear whose own forward"):
        adapted(model)
    model.fc = Plain(8, 3)
    assert adapted(model).head.name == "fc"
    for part in ("fc", "body"):
        model = Model()
        getattr(model, part).weight.data[0, :2] = torch.tensor([float("nan"), float("inf")])
        with pytest.raises(
            UnsupportedEstimatorError, match=rf"2 of \d+ in '{part}\.weight'; did its training"
        ):
            adapted(model)


@pytest.mark.filterwarnings("ignore")
def test_quantised_heads_are_refused_and_quantised_bodies_are_not():
    """Dynamic quantisation of the body leaves W φ + b as it is; in the head, W has no float values."""

    def quantised(model):
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)

    body = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
    with pytest.raises(
        HeadNotFoundError, match=r"weights of '0\.0', '1' are quantised; give the float model"
    ):
        adapted(quantised(nn.Sequential(body, nn.Linear(8, 3))))
    net, x = adapted(nn.Sequential(quantised(body), nn.Linear(8, 3))), torch.rand(4, 6)
    torch.testing.assert_close(net.features(x) @ net.head.weight.T + net.head.bias, net.logits(x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.rand(1, 4))])
def test_scripted_and_traced_models_are_refused_in_words(make):
    whole = make(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
    with pytest.raises(UnsupportedEstimatorError, match=r"it is scripted or traced.* the plain module"):
        adapted(whole, shape=(4,))
    part = nn.Sequential(make(nn.Linear(4, 4)), nn.Linear(4, 3))
    with pytest.raises(UnsupportedEstimatorError, match="its part '0' is scripted or traced"):
        adapted(part, shape=(4,))


WRAPPERS = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "old weight norm": torch.nn.utils.weight_norm,
    "old spectral norm": torch.nn.utils.spectral_norm,
}


@pytest.mark.filterwarnings("ignore:.*(weight_norm|spectral_norm).*:FutureWarning")
@pytest.mark.parametrize("which", ["body", "fc", "both"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_normed_weights_go_to_workers(tmp_path, wrapper, which):
    model, x = Model(), torch.rand(3, 6)
    for name in ("body", "fc") if which == "both" else (which,):
        setattr(model, name, WRAPPERS[wrapper](getattr(model, name)))
    net = adapted(model)
    made = net.recipe(tmp_path).build("cpu")
    assert torch.equal(made.logits(x), net.logits(x))
    assert torch.equal(made.head.weight, net.head.weight)
    assert made.identity() == net.identity()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    with net.guard(), torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("channels", [1, 3])
def test_weights_lie_in_a_worker_as_they_lay_here(tmp_path, channels):
    """Grey weights are contiguous in both memory formats, yet kernels tell them apart by their strides."""
    conv = nn.Conv2d(channels, 4, 3, padding=1)
    model = nn.Sequential(conv, nn.Flatten(), nn.Linear(4 * 36, 3)).to(memory_format=torch.channels_last)
    net = adapted(model, shape=(channels, 6, 6))
    recipe = net.recipe(tmp_path)
    assert isinstance(recipe, PartsRecipe)
    made = recipe.build("cpu")
    for here, there in zip(model.parameters(), made.estimator.model.parameters(), strict=True):
        assert here.stride() == there.stride()
    x = np.random.default_rng(0).random((9, channels, 6, 6), dtype=np.float32)
    np.testing.assert_array_equal(made.logits(x), net.logits(x))
