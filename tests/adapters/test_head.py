"""The linear head is found where there is one, and its absence is explained."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from art.estimators.classification import PyTorchClassifier
from tolerances import close, near
from torch import nn

import art_flat as af
from art_flat.adapters._relation import find_relation
from art_flat.errors import HeadNotFoundError, UnsupportedEstimatorError
from art_flat.models import vgg11_bn

SHAPE = (3, 32, 32)


def classifier(model, loss=None, shape=(6,), k=4):
    return PyTorchClassifier(
        model,
        loss or nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=k,
        clip_values=(0, 1),
        device_type="cpu",
    )


class Tail(nn.Module):
    """6 inputs, 5 features, k logits, and something after them."""

    def __init__(self, after=lambda z: z, k=4, bias=True):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fc, self.after = nn.Linear(6, 5), nn.Linear(5, k, bias=bias), after

    def phi(self, x):
        return torch.tanh(self.body(x))

    def forward(self, x):
        return self.after(self.fc(self.phi(x)))


def inputs(n=7, shape=(6,)):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1))


tv = torchvision.models
NETS = {
    "ResNet": ("fc", lambda: tv.ResNet(tv.resnet.BasicBlock, [1, 1, 1, 1], num_classes=4)),
    "VGG": ("classifier", lambda: vgg11_bn(0.1, 4)),
    "DenseNet": ("classifier", lambda: tv.DenseNet(4, (1, 1, 1), num_init_features=8, num_classes=4)),
    "MobileNet": ("classifier.3", lambda: tv.mobilenet_v3_small(num_classes=4)),
    "ViT": ("heads.head", lambda: tv.VisionTransformer(32, 16, 1, 2, 8, 8, num_classes=4)),
}


@pytest.mark.parametrize("family", NETS)
def test_torchvision_heads(family):
    torch.manual_seed(0)
    name, build = NETS[family]
    model = build()
    layer = dict(model.named_modules())[name]
    nn.init.normal_(layer.weight)  # ViT starts with a head of zeros, which would prove nothing
    estimator = classifier(model, shape=SHAPE)
    net = af.adapt(estimator)
    x = inputs(3, SHAPE)
    assert net.head.name == name
    assert net.head.weight.data_ptr() == layer.weight.data_ptr()
    z, phi = net.outputs(x)
    torch.testing.assert_close(z, torch.as_tensor(estimator.predict(x.numpy())), **close("net"))
    torch.testing.assert_close(phi @ net.head.weight.T + net.head.bias, z, **close("net", scale=10))


def test_sequential_and_last_linear_called_rather_than_defined():
    class Reversed(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.unused, self.body = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(6, 5)

        def forward(self, x):
            return self.fc(self.body(x))

    assert af.adapt(classifier(Reversed())).head.name == "fc"
    assert af.adapt(classifier(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)))).head.name == "2"
    assert af.adapt(classifier(nn.Linear(6, 4))).head.name == ""


def test_head_without_bias_has_zeros():
    model = Tail(bias=False)
    net = af.adapt(classifier(model))
    assert torch.equal(net.head.bias, torch.zeros(4))
    torch.testing.assert_close(
        net.logits(inputs()), model.phi(inputs()).detach() @ model.fc.weight.T.detach(), **close("net")
    )


def test_head_called_by_keyword():
    class Keyword(Tail):
        def forward(self, x):
            return self.fc(input=self.phi(x))

    model = Keyword()
    torch.testing.assert_close(
        af.adapt(classifier(model)).features(inputs()), model.phi(inputs()).detach(), **close("net")
    )


@pytest.mark.parametrize(
    ("after", "loss"),
    [
        (lambda z: z.softmax(1), nn.CrossEntropyLoss()),
        (lambda z: z.log_softmax(1), nn.NLLLoss()),
        (lambda z: z.log_softmax(1), nn.CrossEntropyLoss()),
    ],
)
@pytest.mark.parametrize("factor", [1.0, 0.25, 30.0])
def test_softmax_and_factor_are_followed(after, loss, factor):
    model = Tail(lambda z: after(factor * z))
    estimator = classifier(model, loss)
    net, x = af.adapt(estimator), inputs()
    expected = factor * model.fc(model.phi(x)).detach()
    torch.testing.assert_close(net.logits(x), expected, **close("net"))
    torch.testing.assert_close(
        after(net.logits(x)), torch.as_tensor(estimator.predict(x.numpy())), **close("net")
    )
    torch.testing.assert_close(net.head.weight, factor * model.fc.weight.detach(), **close("value", scale=0))
    torch.testing.assert_close(net.head.bias, factor * model.fc.bias.detach(), **close("value", scale=0))
    assert net.head.scale == near(factor, "value", scale=0)
    torch.testing.assert_close(net.as_module()(x), net.logits(x), **close("net", scale=10))


def test_factor_on_logits_belongs_to_the_head():
    model = Tail(lambda z: z / 0.07)
    net, x = af.adapt(classifier(model)), inputs()
    torch.testing.assert_close(net.logits(x), model(x).detach(), **close("net", scale=10))
    torch.testing.assert_close(
        net.features(x) @ net.head.weight.T + net.head.bias, net.logits(x), **close("net", scale=10)
    )
    assert net.head.scale == near(1 / 0.07, "value", scale=0)


@pytest.mark.parametrize(
    "after",
    [
        torch.relu,
        torch.tanh,
        torch.sigmoid,
        lambda z: z.clamp(-50, 50),
        lambda z: 30 * torch.tanh(z / 30),
        lambda z: -z,
        lambda z: z + 1,
        lambda z: z.flip(1),
        lambda z: z * torch.tensor([1.0, 1.0, 1.0, 1.001]),
        lambda z: z / z.norm(dim=1, keepdim=True),
    ],
)
def test_anything_else_after_the_head_is_refused(after):
    with pytest.raises(
        HeadNotFoundError, match=r"no linear head in Tail: .*'fc'.* something after the layer changes it"
    ):
        af.adapt(classifier(Tail(after)))


def test_skip_connection_around_the_head_is_refused():
    class Skip(Tail):
        def forward(self, x):
            return super().forward(x) + x[:, :4]

    with pytest.raises(HeadNotFoundError, match="something after the layer changes it"):
        af.adapt(classifier(Skip()))


@pytest.mark.parametrize(
    ("after", "loss"), [(lambda z: z, nn.BCEWithLogitsLoss()), (torch.sigmoid, nn.BCELoss())]
)
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_binary_head_is_two_classes(after, loss, flat, factor):
    model = Tail(lambda z: after(factor * (z[:, 0] if flat else z)), k=1)
    estimator = classifier(model, loss, k=2)
    net, x = af.adapt(estimator), inputs()
    z = factor * model.fc(model.phi(x)).detach()
    assert net.nb_classes == net.head.nb_classes == 2
    torch.testing.assert_close(net.logits(x), torch.cat([-z / 2, z / 2], dim=1), **close("net"))
    torch.testing.assert_close(net.head.weight[1], factor * model.fc.weight[0].detach() / 2, **close("net"))
    torch.testing.assert_close(
        net.features(x) @ net.head.weight.T + net.head.bias, net.logits(x), **close("net")
    )
    seen = torch.as_tensor(estimator.predict(x.numpy()))[:, 0]
    torch.testing.assert_close(net.logits(x).softmax(1)[:, 1], torch.sigmoid(z)[:, 0], **close("net"))
    assert torch.equal(net.predict(x), (seen > (0 if after is not torch.sigmoid else 0.5)).long())


def test_squeezenet_has_no_linear_layer():
    model = tv.squeezenet1_1(num_classes=4)
    with pytest.raises(HeadNotFoundError) as error:
        af.adapt(classifier(model, shape=SHAPE))
    text = "no linear head in SqueezeNet: the last layer called is 'classifier.1' (Conv2d). κ has its closed form for "
    assert str(error.value).startswith(text)


def test_convolution_as_head_is_replaced_by_the_linear_layer_of_the_error():
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 4, 3), nn.ReLU()]
    convolution, linear = nn.Conv2d(4, 5, 1), nn.Linear(4, 5)
    linear.weight.data, linear.bias.data = convolution.weight.data.flatten(1), convolution.bias.data
    models = (
        nn.Sequential(*body, convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), convolution, nn.Flatten()),
    )
    net = af.adapt(
        classifier(nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear), shape=SHAPE, k=5)
    )
    x = torch.rand(2, *SHAPE)
    for model in models:
        with pytest.raises(HeadNotFoundError, match=r"pool first and replace.*nn\.Linear\(4, 5\)"):
            af.adapt(classifier(model, shape=SHAPE, k=5))
        torch.testing.assert_close(net.logits(x), model(x).detach(), **close("net"))


def test_linear_layer_inside_a_convolutional_head_is_not_taken():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.conv = nn.Linear(3, 3), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return self.conv(x * self.gate(x.mean((2, 3)))[:, :, None, None]).mean((2, 3))

    with pytest.raises(
        HeadNotFoundError, match=r"the last layer called is 'conv' \(Conv2d\), and the layer 'gate' gives 3"
    ):
        af.adapt(classifier(Gated(), shape=SHAPE))


def test_weights_used_without_a_layer_are_not_seen():
    class Functional(Tail):
        def forward(self, x):
            return F.linear(F.linear(x, self.body.weight), self.fc.weight)

    with pytest.raises(HeadNotFoundError, match="no call of a layer with weights was observed"):
        af.adapt(classifier(Functional()))


def test_shared_head_is_refused():
    class Twice(Tail):
        def forward(self, x):
            return self.fc(self.phi(x)) + self.fc(self.phi(1 - x))

    with pytest.raises(HeadNotFoundError, match="'fc' is called 2 times in one forward pass, expected once"):
        af.adapt(classifier(Twice()))


def test_sequence_head_is_refused():
    class Pooled(Tail):
        def forward(self, x):
            return self.fc(self.phi(x)[:, None].expand(-1, 3, -1)).mean(1)

    with pytest.raises(
        HeadNotFoundError, match=r"input of 'fc' has shape \(3, 3, 5\) for 3 samples, expected \(3, d\)"
    ):
        af.adapt(classifier(Pooled()))


def test_wrong_number_of_classes_is_said():
    with pytest.raises(HeadNotFoundError, match="'fc' has 4 outputs, the classifier says nb_classes=7"):
        af.adapt(classifier(Tail(), k=7))


def test_extra_outputs_are_refused():
    with pytest.raises(HeadNotFoundError, match="'fc' gives 4 numbers per sample, the model 3"):
        af.adapt(classifier(Tail(lambda z: z[:, :3]), k=3))


def test_hook_that_changes_the_head_is_refused():
    model = Tail()
    model.fc.register_forward_hook(lambda m, a, out: out + 5)
    with pytest.raises(HeadNotFoundError, match="a hook on it changes it"):
        af.adapt(classifier(model))


class TestNamedHead:
    def test_name_is_used(self):
        assert af.adapt(classifier(Tail()), head="fc").head.name == "fc"

    def test_unknown_name_gets_the_closest(self):
        with pytest.raises(HeadNotFoundError, match="Tail has no submodule 'fd'; its linear layers: 'fc'"):
            af.adapt(classifier(Tail()), head="fd")

    def test_other_layer_type(self):
        with pytest.raises(HeadNotFoundError, match=r"head='0' is a Flatten, expected an nn.Linear"):
            af.adapt(classifier(nn.Sequential(nn.Flatten(), nn.Linear(6, 4))), head="0")

    def test_layer_that_is_not_the_last(self):
        match = (
            r"the last layer called is 'fc' \(Linear\), and the layer 'body' gives 5 numbers.*adapt\(\): 'fc'"
        )
        with pytest.raises(HeadNotFoundError, match=match):
            af.adapt(classifier(Tail()), head="body")

    def test_layer_that_is_not_called(self):
        model = Tail()
        model.spare = nn.Linear(5, 4)
        with pytest.raises(
            HeadNotFoundError,
            match="does not call the layer 'spare' in a forward pass; it calls 'body', 'fc'",
        ):
            af.adapt(classifier(model), head="spare")


class TestUnusableModels:
    @pytest.mark.parametrize("wrap", [lambda z: (z, z), lambda z: {"logits": z}, lambda z: [z]])
    def test_no_tensor(self, wrap):
        kind = type(wrap(0)).__name__
        with pytest.raises(
            UnsupportedEstimatorError, match=f"Tail returns a {kind}, expected one tensor of logits"
        ):
            af.adapt(classifier(Tail(wrap)))

    def test_wrong_number_of_rows(self):
        with pytest.raises(
            UnsupportedEstimatorError, match=r"returns shape \(1, 4\) for 3 samples, expected \(3, k\)"
        ):
            af.adapt(classifier(Tail(lambda z: z.mean(0, keepdim=True))))

    def test_lazy_layers(self):
        model = nn.Sequential(nn.LazyLinear(5), nn.Linear(5, 4))
        with pytest.raises(
            UnsupportedEstimatorError, match=r"lazy layers whose weights do not exist yet \('0.weight'\)"
        ):
            af.adapt(classifier(model))

    def test_meta_device(self):
        estimator = classifier(Tail())
        estimator.model.to("meta")
        with pytest.raises(UnsupportedEstimatorError, match="weights on the meta device"):
            af.adapt(estimator)

    def test_other_device(self):
        estimator = classifier(Tail())
        estimator._device = torch.device("cuda:0")
        with pytest.raises(
            UnsupportedEstimatorError,
            match=r'Tail is on cpu, the classifier computes on cuda:0.*to\("cuda:0"\)',
        ):
            af.adapt(estimator)

    def test_quantised_layer(self):
        class Packed(nn.Module):
            def weight(self):
                return torch.eye(4)

            def forward(self, x):
                return x[:, :4]

        with pytest.raises(HeadNotFoundError, match=r"'packed' \(Packed\). Its weights are quantised"):
            af.adapt(classifier(_holding(Packed())))

    def test_wrong_input_shape(self):
        with pytest.raises(
            UnsupportedEstimatorError,
            match=r"Tail failed on a probe of shape \(3, 9\): .* check the classifier's",
        ):
            af.adapt(classifier(Tail(), shape=(9,)))


def _holding(layer):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.packed = layer

        def forward(self, x):
            return self.packed(x)

    return Holder()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_relation_in_every_precision(dtype):
    z = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).mul(4).to(dtype)
    assert find_relation(z, z) == ("logits", 1.0)
    assert find_relation(z, z.log_softmax(1)) == ("log_softmax", 1.0)
    assert find_relation(z, z.softmax(1)) == ("softmax", 1.0)
    assert find_relation(z[:, :1], z[:, :1].sigmoid()) == ("sigmoid", 1.0)
    assert find_relation(z, z + 1) is None
    assert find_relation(z, torch.full_like(z, torch.nan)) is None
