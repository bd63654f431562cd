"""`evaluate` over the suite "fast" against the sum of the bare attacks, on a trained CNN."""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torchattacks
from art.attacks import evasion

import art_flat as af
from art_flat.attacks import Problem

from ._cases import trained
from ._harness import Row, Settings, at_most, paired

DELTAS = {"Linf": [0.1], "L2": [1.5]}


def bare_attacks(model, net, x, y):
    """One call for each unit of the suite, on the bare model or ART's own estimator, with the suite's parameters."""
    images, labels = torch.as_tensor(x), torch.as_tensor(y)
    estimator, (linf,), (l2,) = net.estimator, DELTAS["Linf"], DELTAS["L2"]
    ta = torchattacks
    low, high = torch.zeros(()), torch.ones(())

    def own(name, norm, delta):
        attack = af.load_attack(name)
        problem = Problem(net, net.as_module(), images, labels, None, delta, norm, low, high, 0)
        return lambda: attack.run(problem)

    def library(attack):
        return lambda: attack(images, labels)

    def art(name, norm, **parameters):
        attack = getattr(evasion, name)(estimator, norm=norm, batch_size=128, verbose=False, **parameters)
        return lambda: attack.generate(x, y=y)

    calls = [
        library(ta.FGSM(model, eps=linf)),
        library(ta.PGD(model, eps=linf, alpha=2.5 * linf / 10, steps=10)),
        library(ta.PGDL2(model, eps=l2, alpha=2.5 * l2 / 10, steps=10)),
        library(ta.APGD(model, norm="Linf", eps=linf, steps=10)),
        library(ta.APGD(model, norm="L2", eps=l2, steps=10)),
        library(ta.Square(model, norm="Linf", eps=linf, n_queries=200)),
        library(ta.Square(model, norm="L2", eps=l2, n_queries=200)),
        lambda: evasion.DeepFool(estimator, max_iter=20, batch_size=128, verbose=False).generate(x),
    ]
    for norm, delta, order in (("Linf", linf, np.inf), ("L2", l2, 2)):
        calls += [own("art_flat:PGD(steps=20)", norm, delta), own("art_flat:APGD(steps=20)", norm, delta)]
        fgm = evasion.FastGradientMethod(estimator, norm=order, eps=delta, batch_size=128)
        calls += [
            lambda fgm=fgm: fgm.generate(x, y=y),
            art("ProjectedGradientDescent", order, eps=delta, eps_step=2.5 * delta / 10, max_iter=10),
            art(
                "AutoProjectedGradientDescent",
                order,
                eps=delta,
                eps_step=delta / 5,
                max_iter=10,
                nb_random_init=1,
            ),
        ]
    return calls


def measure(settings: Settings) -> list[Row]:
    model, net, x, y, title = trained(settings, 100)
    warnings.simplefilter("ignore")
    calls = bare_attacks(model, net, x, y)

    def bare():
        torch.manual_seed(0)
        for call in calls:
            call()

    def ours():
        af.evaluate({"cnn": net}, x, y, attacks="fast", deltas=DELTAS, certify=None)

    what = f'`evaluate` over the suite "fast", {title} CNN, {len(x)} images, L∞ and L2'
    note = "without certificates, which no bare attack has; ours includes clean passes, records and distances"
    return [
        at_most(
            what, "the sum of the bare attacks", paired(ours, bare, settings, least=3, most=7), 1.15, note
        )
    ]
