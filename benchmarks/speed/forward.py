"""κ alone, and all quantities at once, against the bare model under `inference_mode` on the same batches."""

from __future__ import annotations

import torch

from ._cases import resnet, small_cnn
from ._harness import Row, Settings, at_most, faster, paired


def measure(settings: Settings) -> list[Row]:
    model, net, x, y = resnet(settings, 128)
    small, small_net, small_x, _ = small_cnn(settings, 512)

    def bare(module, inputs):
        def run():
            with torch.inference_mode():
                module(inputs)

        return run

    n, m = len(x), len(small_x)
    return [
        at_most(
            f"`net.relative_sharpness(x)`, ResNet-18, 3×32×32, batch {n}",
            "the bare model",
            paired(lambda: net.relative_sharpness(x, batch_size=n), bare(model, x), settings),
            1.02,
        ),
        at_most(
            f"`net.relative_sharpness(x)`, MNIST CNN (d = 128, k = 10), batch {m}",
            "the bare model",
            paired(
                lambda: small_net.relative_sharpness(small_x, batch_size=m), bare(small, small_x), settings
            ),
            1.10,
        ),
        at_most(
            "`net.measure(x, y)`: logits, features, loss, κ and log κ in three definitions, ResNet-18",
            "the bare model",
            paired(lambda: net.measure(x, y, batch_size=n), bare(model, x), settings),
            1.03,
        ),
        activations(settings),
    ]


def activations(settings: Settings) -> Row:
    """Features and logits as NumPy arrays: one pass of ours, two of ART's."""
    _, net, x, _ = resnet(settings, 128)
    inputs, estimator = x.numpy(), net.estimator

    def ours():
        net.measure(inputs, definitions=[], batch_size=len(inputs))

    def theirs():
        estimator.get_activations(inputs, layer=len(estimator.layer_names) - 2, batch_size=len(inputs))
        estimator.predict(inputs, batch_size=len(inputs))

    return faster(
        "features and logits as NumPy arrays, ResNet-18",
        "ART's `get_activations` and `predict`",
        paired(ours, theirs, settings),
        1.8,
    )
