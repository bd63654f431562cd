"""Overhead of `trace_attack` over the same attack, torchattacks PGD on a ResNet-18."""

from __future__ import annotations

import art_flat as af

from ._cases import resnet
from ._harness import Row, Settings, at_most, paired


def measure(settings: Settings) -> list[Row]:
    _, net, x, y = resnet(settings, 32)
    attack = af.load_attack("torchattacks:PGD(steps=5)")

    def plain():
        attack(net, x, y, delta=8 / 255, norm="Linf")

    def traced():
        af.trace_attack(net, attack, x, y, delta=8 / 255, norm="Linf")

    what = f"`trace_attack`, torchattacks PGD-5, ResNet-18, {len(x)} images"
    return [at_most(what, "the attack alone", paired(traced, plain, settings), 1.05)]
