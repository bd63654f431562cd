"""What torchattacks cannot do is refused before anything runs."""

import numpy as np
import pytest
from torch import nn
from torchattacks_cases import few, modulo

import art_flat as af
from art_flat.attacks import load_attack
from art_flat.errors import AttackNotUsableError, InputError
from art_flat.models import as_classifier


@pytest.fixture
def idle(monkeypatch):
    """A way to make a classifier fail at its first forward pass."""

    def still(problem):
        net, x, y = problem
        for method in ("outputs", "as_module"):
            monkeypatch.setattr(net, method, lambda *a, **k: pytest.fail("the classifier was run"))
        return net, x, y

    return still


def test_lgv_is_refused(idle):
    with pytest.raises(AttackNotUsableError, match=r"torchattacks:LGV cannot be used: it trains copies"):
        load_attack("torchattacks:LGV")(*idle(few()), delta=0.1)


@pytest.mark.parametrize(
    ("text", "nb_classes", "words"),
    [
        ("APGDT", 2, "needs at least 4 classes, the classifier has 2"),
        ("APGDT", 3, "needs at least 4 classes, the classifier has 3"),
        ("AutoAttack", 3, "version='standard' needs at least 4 classes"),
        ('AutoAttack(version="rand")', 2, "version='rand' needs at least 3 classes"),
        ('APGD(loss="dlr")', 2, "needs at least 3 classes, the classifier has 2"),
        ('UPGD(loss="dlr")', 2, "needs at least 3 classes, the classifier has 2"),
        ('MultiAttack(attacks=("PGD", "APGDT"))', 2, "APGDT cannot be used"),
    ],
)
def test_too_few_classes_are_refused(text, nb_classes, words, idle):
    with pytest.raises(AttackNotUsableError, match=words):
        load_attack(f"torchattacks:{text}")(*idle(modulo(nb_classes)), delta=0.1)


def blank(shape, clip_values=(0.0, 1.0)):
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 10))
    net = af.adapt(as_classifier(model, input_shape=shape, nb_classes=10, clip_values=clip_values))
    return net, np.full((1, *shape), 0.5, dtype=np.float32), np.zeros(1, dtype=int)


@pytest.mark.parametrize(
    ("text", "shape", "norm", "words"),
    [
        ("TIFGSM", (2, 8, 8), "Linf", "its kernels are for 3 channels .* takes 2"),
        ("PIFGSM", (2, 8, 8), "Linf", "its kernels are for 3 channels"),
        ("PIFGSMPP", (4, 8, 8), "Linf", "its kernels are for 3 channels"),
        ("DIFGSM", (1, 6, 8), "Linf", "the images are 6×8"),
        ("Pixle", (1, 6, 8), "L0", "the images are 6×8"),
        ("Square", (64,), "Linf", "it needs images"),
        ("Square", (1, 4, 4), "L2", "its window of 5 pixels does not fit into images of 4×4"),
        ("JSMA", (3, 80, 80), "L0", "19200 features are more than"),
        ("FAB", (1, 8, 8), "L1", "does not support the norm L1; it supports Linf, L2"),
    ],
)
def test_shapes_and_norms_the_library_cannot_do_are_refused(text, shape, norm, words, idle):
    with pytest.raises(AttackNotUsableError, match=words):
        load_attack(f"torchattacks:{text}")(*idle(blank(shape)), delta=0.1, norm=norm)


def test_a_clip_range_per_channel_is_refused(idle):
    low, high = np.zeros((3, 1, 1), np.float32), np.array([1, 1, 2], np.float32).reshape(3, 1, 1)
    with pytest.raises(AttackNotUsableError, match="clip_values differ between features"):
        load_attack("torchattacks:PGD")(*idle(blank((3, 8, 8), (low, high))), delta=0.1)


@pytest.mark.parametrize("name", ["APGD", "APGDT", "DeepFool", "FAB", "TPGD", "AutoAttack", "PIFGSM"])
def test_targets_are_refused_where_the_library_has_none(name, idle):
    net, x, y = idle(few())
    with pytest.raises(AttackNotUsableError, match="does not take a target class"):
        load_attack(f"torchattacks:{name}")(net, x, y, delta=0.1, target=(y + 1) % 10)


def test_parameters_that_cannot_work_are_refused():
    net, x, y = few()
    with pytest.raises(AttackNotUsableError, match='with `target` and loss="dlr"'):
        load_attack('torchattacks:UPGD(loss="dlr")')(net, x, y, delta=0.1, target=(y + 1) % 10)
    with pytest.raises(InputError, match="`resize_rate` must shrink images of side 8"):
        load_attack("torchattacks:DIFGSM(resize_rate=1.1)")(net, x, y, delta=0.1)
    with pytest.raises(InputError, match="`max_iterations` must be at least 10 with abort_early"):
        load_attack("torchattacks:EADL1(max_iterations=5)")(net, x, y)
    with pytest.raises(InputError, match=r"CW.* cannot run inside it"):
        load_attack('torchattacks:MultiAttack(attacks=("CW", "PGD"))')(net, x, y, delta=0.1)
    with pytest.raises(InputError, match="must list at least two attacks"):
        load_attack('torchattacks:MultiAttack(attacks=("PGD",))')(net, x, y, delta=0.1)
