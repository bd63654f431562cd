"""User-defined attacks are identified by everything that affects their result, and none is dropped."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import art_flat as af
from art_flat import metrics
from art_flat.attacks import as_attack, load_attacks
from art_flat.errors import InputError, StoreError
from art_flat.models import as_classifier, fcn

STEP = 0.1


def towards(module, x, y, size):
    x = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(module(x), y), x)
    return (x + size * gradient.sign()).clamp(0, 1).detach()


class Step:
    """An attack with a parameter."""

    def __init__(self, size):
        self.size = size

    def __call__(self, module, x, y):
        return towards(module, x, y, np.max(self.size))

    def walk(self, module, x, y):
        return self(module, x, y)


class Slotted:
    __slots__ = ("size",)

    def __init__(self, size):
        self.size = size

    def __call__(self, module, x, y):
        return towards(module, x, y, self.size)


def closure(size):
    def step(module, x, y):
        return towards(module, x, y, size)

    return step


def default(size):
    def step(module, x, y, *, size=size):
        return towards(module, x, y, size)

    return step


def nested(size):
    inner = Step(size)
    return lambda module, x, y: inner(module, x, y)


def surrogate(size):
    net = fcn(4, (2,), 3)
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(size)
    return Step(net)


def global_step(module, x, y):
    return towards(module, x, y, STEP)


def of_class_attribute(size):
    return type("Step", (), {"size": size, "__module__": __name__, "__call__": lambda self, m, x, y: x})()


MADE = {
    "attribute": Step,
    "slot": Slotted,
    "method": lambda size: Step(size).walk,
    "closure": closure,
    "default": default,
    "partial": lambda size: functools.partial(towards, size=size),
    "array": lambda size: Step(np.full(4, size)),
    "tensor": lambda size: Step(torch.full((4,), size)),
    "list": lambda size: Step([size]),
    "dictionary": lambda size: Step({"a": {"b": size}}),
    "set": lambda size: Step({size, "a"}),
    "nested": nested,
    "surrogate": surrogate,
    "class": of_class_attribute,
    "generator": lambda size: Step(np.random.default_rng(int(100 * size))),
    "torch generator": lambda size: Step(torch.Generator().manual_seed(int(100 * size))),
}


def own(obj):
    return as_attack(obj, name="mine")


@pytest.mark.parametrize("kind", MADE)
def test_parameters_are_part_of_the_identity(kind):
    make = MADE[kind]
    assert own(make(0.1)).hash == own(make(0.1)).hash
    assert own(make(0.1)).hash != own(make(0.2)).hash


def test_code_is_part_of_the_identity():
    plus, minus, twice = lambda m, x, y: x + 1, lambda m, x, y: x - 1, lambda m, x, y: x + 2
    assert len({own(f).hash for f in (plus, minus, twice)}) == 3  # of one line of text


def test_globals_are_part_of_the_identity(monkeypatch):
    before = own(global_step).hash
    monkeypatch.setattr(sys.modules[__name__], "STEP", 0.2)
    assert own(global_step).hash != before


def test_objects_of_libraries_are_told_apart_by_what_they_hold():
    torchattacks = pytest.importorskip("torchattacks")
    from art.attacks.evasion import ProjectedGradientDescent

    first, other = (surrogate(size).size for size in (0.1, 0.2))
    net = as_classifier(first, input_shape=(4,), nb_classes=3)
    made = [
        *(ProjectedGradientDescent(net, eps=np.full(4, e), eps_step=np.full(4, 0.1)) for e in (0.1, 0.2)),
        torchattacks.FGSM(first, eps=0.1),
        torchattacks.FGSM(other, eps=0.1),
        *(torchattacks.MultiAttack([torchattacks.FGSM(first, eps=e)] * 2) for e in (0.1, 0.2)),
    ]
    hashes = [own(obj).hash for obj in made]
    assert len(set(hashes)) == len(made)
    assert [own(obj).hash for obj in made] == hashes
    assert len({a.name for a in load_attacks(made)}) == len(made)


def test_a_record_of_its_work_is_no_parameter():
    calls, step = [], Step(0.1)
    attack = lambda module, x, y: calls.append(1) or step(module, x, y)  # noqa: E731
    step._calls, step.log = 0, []
    before = own(attack).hash, own(step).hash
    calls.append(1)
    step._calls += 1
    step.log.append(1)
    assert (own(attack).hash, own(step).hash) == before
    step.size = 0.2
    assert own(step).hash != before[1]


@pytest.mark.slow
def test_another_process_finds_the_same_identity():
    code = f"""
import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
import torch; torch.manual_seed(0)
import test_fingerprint as t
print([t.own(make(0.1)).hash for make in t.MADE.values()], t.own(t.global_step).hash)
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_equal_names_are_numbered():
    weak, strong = Step(0.001), Step(0.49)
    attacks = load_attacks([weak, strong, weak, Step(0.49), Slotted(0.1), strong.walk, strong.walk])
    assert [a.name for a in attacks] == ["own:Step", "own:Step-2", "own:Step-3", "own:Slotted", "own:walk"]
    assert load_attacks([as_attack(weak), weak, "art_flat:PGD", "art_flat:PGD"])[1].name == "art_flat:PGD"
    twice = load_attacks([as_attack(weak, norms="L2"), as_attack(weak, norms="Linf")])
    assert [a.info.norms for a in twice] == [("L2",), ("Linf",)]


def test_partial_functions_are_called_as_the_function_they_hold():
    weak, strong = (functools.partial(towards, size=size) for size in (0.001, 0.49))
    nested = functools.partial(functools.partial(Step(0.1).walk))
    attacks = load_attacks([weak, strong, weak, nested, functools.partial(Step(0.1))])
    assert [a.name for a in attacks] == ["own:towards", "own:towards-2", "own:walk", "own:Step"]
    assert len({a.hash for a in attacks}) == 4


def test_names_that_were_given_are_not_changed():
    with pytest.raises(InputError, match="two different attacks are called own:mine"):
        load_attacks([own(Step(0.001)), own(Step(0.49))])


@pytest.fixture
def net():
    torch.manual_seed(0)
    module = fcn(4, (16,), 3)
    x = torch.rand(60, 4)
    return as_classifier(module, input_shape=(4,), nb_classes=3), x, module(x).argmax(dim=1)


@pytest.mark.parametrize("make", [Step, closure], ids=["class", "closure"])
def test_every_one_of_them_counts(net, make):
    classifier, x, y = net
    attacked = towards(classifier.model, x, y, 0.49)
    truth = float((classifier.model(attacked).argmax(dim=1) == y).float().mean())
    assert truth < 0.9
    attacks = [make(0.001), make(0.49)]
    summary = af.evaluate(classifier, x, y, attacks=attacks, deltas={"Linf": [0.5]}, certify=None).summary()
    assert summary["robust_accuracy"].tolist()[1:] == [truth, truth]
    assert summary["attack"].nunique() == 3
    call = functools.partial(metrics.loss_change_robustness, classifier, x, y, delta=0.5, epsilon=0.1)
    assert call(attack=attacks) == call(attack=attacks[1]) < call(attack=attacks[0])


def test_another_parameter_is_not_resumed(net, tmp_path):
    classifier, x, y = net
    run = functools.partial(af.evaluate, classifier, x, y, deltas={"Linf": [0.5]}, certify=None, out=tmp_path)
    weak = run(attacks=[Step(0.001)]).adversarial
    assert run(attacks=[Step(0.001)]).adversarial.equals(weak)
    with pytest.raises(StoreError, match="own:Step"):
        run(attacks=[Step(0.49)])
