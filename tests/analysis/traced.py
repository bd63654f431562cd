"""Attacks that follow a given path, and models asked again at its points."""

import copy

import numpy as np
import pytest
import torch

import art_flat as af
from art_flat.attacks import Attack, AttackInfo
from art_flat.models import as_classifier


class Scripted(Attack):
    """An attack that does what its test says."""

    def run(self, problem):
        return self.info.defaults["run"](problem)


def scripted(run, **facts):
    facts = {"norms": ("Linf",), **facts}
    return AttackInfo("test:Scripted", build=lambda: Scripted(info_of[0]), defaults={"run": run}, **facts)


info_of = []


def make(run, **facts):
    info_of[:] = [scripted(run, **facts)]
    return info_of[0].build()


def asked_again(net, points, y):
    """Loss, κ, confidence, label at points, from logits and features, in float64 and without art_flat."""
    z, phi = (t.double() for t in net.outputs(torch.as_tensor(points)))
    p = torch.exp(z - z.logsumexp(1, keepdim=True))
    weight = net.head.weight.double()
    others = torch.stack([p.sum(1) - p[:, j] for j in range(p.shape[1])], 1)
    kappa = (weight**2).sum() * (phi**2).sum(1) * (p * others).sum(1)
    loss = -torch.log(p[range(len(y)), torch.as_tensor(y)])
    return {"loss": loss, "kappa": kappa, "confidence": p.amax(1), "label": z.argmax(1)}


@pytest.fixture(scope="module", name="wide")
def wide_fixture(digits):
    """The digits net in float64, so that a batch's size changes nothing that a test can see."""
    net, x, y = digits
    model = copy.deepcopy(net.estimator.model).double()
    net = af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=10))
    return net, x[:12].astype(np.float64), y[:12]
