"""Unsupported layers are rejected with their name, position and an alternative."""

import pytest
import torch
from certification_cases import build, samples
from torch import nn

from art_flat.certification import bounds_in_ball, trace
from art_flat.errors import InputError, UnknownNameError, UnsupportedLayerError


def with_layer(layer):
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 8), layer, nn.Linear(8, 3)).eval()


class Calls(nn.Module):
    """A forward given as a function of the net and its input."""

    def __init__(self, function):
        super().__init__()
        self.function, self.layer, self.head = function, nn.Linear(72, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.function(self, x.flatten(1))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.GELU(), "not monotone"),
        (nn.SiLU(), "not monotone"),
        (nn.Hardswish(), "not monotone"),
        (nn.LayerNorm(8), "divides by a spread"),
        (nn.GroupNorm(2, 8), "divides by a spread"),
        (nn.Softmax(dim=1), "softmax"),
        (nn.LeakyReLU(1.5), "not between 0 and 1"),
        (nn.Bilinear(8, 8, 8), "fails|not supported"),
    ],
)
def test_layers_without_bounds_are_named_with_their_place(layer, reason):
    with pytest.raises(
        (UnsupportedLayerError, InputError), match=rf"(?s)'2' \({type(layer).__name__}\).*({reason})"
    ):
        trace(with_layer(layer), (2, 6, 6))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda m, x: m.head(m.layer(x) * m.layer(x)), "'mul' .*several of its arguments"),
        (lambda m, x: m.head(torch.softmax(m.layer(x), 1)), "'softmax' .*softmax is not supported"),
        (lambda m, x: m.head(torch.nn.functional.gelu(m.layer(x))), "'gelu' .*not monotone"),
        (lambda m, x: m.head(m.layer(x).sin()), "'sin' .*function is not supported"),
        (lambda m, x: m.head(m.layer(x)) if x.sum() > 0 else x, "torch.fx cannot follow Calls"),
        (lambda m, x: (m.head(m.layer(x)), x), "more than one tensor"),
        (lambda m, x: m.head(m.layer(x - x.mean(0))), "mixes samples|different shapes"),
        (lambda m, x: m.layer(x).view(-1, 4, 2), r"shape \(4, 2\) per sample"),
    ],
)
def test_functions_without_bounds_are_named(function, reason):
    with pytest.raises(UnsupportedLayerError, match=f"(?s){reason}"):
        trace(Calls(function).eval(), (2, 6, 6))


def test_attention_is_refused():
    def attend(m, x):
        h = m.layer(x).view(-1, 2, 4)
        return m.head(torch.nn.functional.scaled_dot_product_attention(h, h, h).flatten(1))

    with pytest.raises(UnsupportedLayerError, match="scaled_dot_product_attention"):
        trace(Calls(attend).eval(), (2, 6, 6))


def test_training_mode_is_refused():
    with pytest.raises(InputError, match=r"training mode.*eval\(\)"):
        trace(build("residual").train(), (2, 6, 6))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value):
    net = build("relu")
    with torch.no_grad():
        net[1].weight[0, 0] = value
    with pytest.raises(InputError, match=r"NaN or infinite values in '1.weight'"):
        trace(net, (2, 6, 6))


def test_hooks_that_change_a_layer_are_refused():
    net = build("relu")
    net[1].register_forward_hook(lambda m, args, out: 2 * out)
    with pytest.raises(UnsupportedLayerError, match=r"'1' \(Linear\): a hook or a subclass"):
        trace(net, (2, 6, 6))


def test_hooks_that_only_watch_are_accepted():
    net, seen = build("relu"), []
    net[1].register_forward_hook(lambda m, args, out: seen.append(1))
    trace(net, (2, 6, 6))


def test_overwriting_a_tensor_that_is_used_again_is_refused():
    def overwrite(m, x):
        h = m.layer(x)
        return m.head(torch.relu_(h) + h)

    with pytest.raises(UnsupportedLayerError, match="overwrites a tensor"):
        trace(Calls(overwrite).eval(), (2, 6, 6))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"delta": 0}, InputError, "`delta` must be greater than 0"),
        ({"delta": -1}, InputError, "`delta` must be greater than 0"),
        ({"norm": "L0"}, InputError, 'no bounds over L0 balls; use norm="L1" or "L2"'),
        ({"norm": "L7"}, UnknownNameError, "norm 'L7'"),
        ({"kind": "crwon"}, UnknownNameError, "did you mean 'crown'"),
        ({"seconds": 1.0}, InputError, '`seconds` is for kind="branch"; the kind is .crown., leave it out'),
        ({"kind": "branch"}, InputError, 'kind="branch" needs `seconds`.*such as seconds=10'),
        ({"batch_size": 0}, InputError, "at least 1"),
        ({"dtype": torch.float16}, InputError, "torch.float64 or torch.float32"),
        ({"dtype": torch.float32}, InputError, "pass float32 inputs"),
        ({"clip_values": (1.0, 0.0)}, InputError, "smallest, largest"),
        ({"std": 0.0}, InputError, "greater than 0"),
        ({"mean": (0.1, 0.2, 0.3)}, InputError, "one per channel"),
    ],
)
def test_arguments_that_cannot_be_used(options, error, words):
    x, y = samples()
    with pytest.raises(error, match=words):
        bounds_in_ball(build("relu"), x, y, **{"delta": 0.1, **options})


def test_inputs_of_another_shape_are_refused():
    x, y = samples()
    with pytest.raises(InputError, match=r"must have shape \(n, 2, 6, 6\)"):
        bounds_in_ball(trace(build("relu"), (2, 6, 6)), x[:, :, :5], y, delta=0.1)
    with pytest.raises(InputError, match="check the input shape"):
        trace(build("relu"), (3, 6, 6))


def test_the_net_is_left_as_it_was():
    net = build("residual").float()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    x, y = samples()
    bounds_in_ball(net, x.float(), y, delta=0.1)
    assert all(v.dtype == torch.float32 or not v.is_floating_point() for v in net.state_dict().values())
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
