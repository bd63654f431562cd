"""Every attack of torchattacks: the contract, the list, and the parameters that reach the library."""

import importlib
import sys

import numpy as np
import pytest
import torch
from attack_cases import TORCHATTACKS as CASES
from attack_cases import slow_unless_quick
from tolerances import close
from torchattacks_cases import few, in_range, seen, spec, torchattacks

from art_flat.attacks import list_attacks, load_attack
from art_flat.errors import InputError, ParameterError
from art_flat.testing import AttackContract

INFOS = list_attacks("torchattacks")


def contract(name):
    _, norm, delta, strength, _ = CASES[name]
    body = {"attack": spec(name), "norm": norm, "delta": delta, "strength": strength}
    body["problem"] = pytest.fixture(lambda self: few())
    return type(f"Test{name}", (AttackContract,), body)


globals().update({f"Test{name}": slow_unless_quick(f"torchattacks:{name}", contract(name)) for name in CASES})


# The list


def test_all_names_are_listed_and_every_usable_one_has_a_case():
    assert {info.name for info in INFOS.values()} == {f"torchattacks:{name}" for name in torchattacks.__all__}
    assert len(INFOS) == 39
    refused = {name.split(":")[1] for name, info in INFOS.items() if info.usability == "refused"}
    assert refused == {"LGV"}
    assert CASES.keys() == set(torchattacks.__all__) - refused
    idle = {name for name, case in CASES.items() if case[3] == 0}
    assert idle == {name.split(":")[1] for name, info in INFOS.items() if info.access == "none"}


def test_infos_say_what_readers_need():
    for info in INFOS.values():
        assert info.version == "3.5.1"
        assert bool(info.reason) == (info.usability != "usable"), info.name
        assert not info.defaults.keys() & {"model", "eps", "max_epsilon", "norm", "seed", "verbose"}, (
            info.name
        )
        assert info.targeted == (
            info.name.split(":")[1] in CASES and CASES[info.name.split(":")[1]][4] is not None
        )
    assert INFOS["torchattacks:PGD"].maximises_loss
    assert not INFOS["torchattacks:APGD"].maximises_loss
    assert "alpha is 2.5 delta / steps" in " ".join(INFOS["torchattacks:PGD"].notes)
    assert "10" in " ".join(INFOS["torchattacks:AutoAttack"].notes)


def test_missing_library_is_a_missing_module(monkeypatch):
    for name in [m for m in sys.modules if m.startswith("art_flat_torchattacks")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("art_flat_torchattacks")
    assert caught.value.name == "torchattacks"


@pytest.mark.parametrize(
    ("text", "norm", "expected"),
    [
        ("PGD", "Linf", {"eps": 0.2, "steps": 10, "alpha": 0.05, "targeted": False}),
        ("PGD(steps=4, alpha=0.01)", "Linf", {"steps": 4, "alpha": 0.01}),
        ("PGDL2(steps=5)", "L2", {"eps": 0.2, "alpha": 0.1}),
        ("FFGSM", "Linf", {"eps": 0.2, "alpha": 0.25}),
        ("PIFGSM", "Linf", {"max_epsilon": 0.2, "num_iter_set": 10}),
        ("SPSA(nb_iter=5)", "Linf", {"eps": 0.2, "lr": 0.1, "delta": 0.01}),
        ("APGD", "L2", {"eps": 0.2, "norm": "L2", "seed": 5, "verbose": False}),
        ("Square", "Linf", {"eps": 0.2, "norm": "Linf", "seed": 5}),
        ("FAB", "Linf", {"eps": 1.0, "norm": "Linf", "seed": 5, "n_target_classes": 9}),
        ("FAB", "L2", {"eps": 8.0, "norm": "L2"}),
        ("APGDT(n_classes=7)", "Linf", {"n_target_classes": 6}),
        ("GN", "Linf", {"std": 0.2}),
        ("GN", "L2", {"std": 0.025}),
        ("GN(std=0.3)", "L2", {"std": 0.3}),
    ],
)
def test_delta_norm_seed_and_step_become_the_librarys_parameters(text, norm, expected):
    thing = seen(f"torchattacks:{text}", *few(), delta=0.2, norm=norm, seed=5)["attack"]
    assert {key: getattr(thing, key) for key in expected} == pytest.approx(expected)


def test_radius_and_images_are_rescaled_to_the_unit_range():
    net, x, y = in_range(0.0, 255.0)
    found = seen("torchattacks:PGD", net, x, y, delta=51.0, seed=0)
    assert found["attack"].eps == pytest.approx(0.2)
    assert found["attack"].alpha == pytest.approx(0.05)
    np.testing.assert_allclose(found["images"].numpy(), x / 255, **close("value"))
    assert found["labels"].dtype == torch.int64


def test_given_steps_are_in_clip_units_like_delta():
    given = seen("torchattacks:PGD(alpha=25.5)", *in_range(0.0, 255.0), delta=51.0, seed=0)["attack"]
    assert given.alpha == pytest.approx(0.1)


def test_autoattack_runs_the_published_number_of_steps():
    inside = seen("torchattacks:AutoAttack", *few(), delta=0.2, seed=5)["attack"]._autoattack.attacks
    assert [type(a).__name__ for a in inside] == ["APGD", "APGDT", "FAB", "Square"]
    assert [a.steps for a in inside[:3]] == [100, 100, 100]
    assert inside[3].n_queries == 5000
    assert {a.seed for a in inside} == {5}
    assert {a.eps for a in inside} == {0.2}


@pytest.mark.parametrize("key", ["eps", "norm", "seed", "verbose"])
def test_what_the_call_sets_is_no_parameter(key):
    with pytest.raises(ParameterError, match=f"torchattacks:APGD: '{key}' is not set here"):
        load_attack("torchattacks:APGD", **{key: 1})


def test_eps_is_answered_by_delta_and_a_typo_by_the_closest_name():
    with pytest.raises(ParameterError, match="pass `delta` to the call"):
        load_attack("torchattacks:PIFGSM(max_epsilon=0.1)")
    with pytest.raises(ParameterError, match="did you mean 'steps'"):
        load_attack("torchattacks:PGD(step=3)")


def test_zero_steps_are_refused():
    with pytest.raises(InputError, match="`steps` must be a whole number of at least 1, got 0"):
        load_attack("torchattacks:BIM(steps=0)")(*few(), delta=0.1)


def test_seed_decides_where_the_library_would_reseed():
    net, x, y = few()
    first, second = (
        load_attack("torchattacks:APGD(steps=1)")(net, x, y, delta=0.3, seed=s).x for s in (0, 1)
    )
    assert not np.array_equal(first, second)
