"""The attacks of adv-lib: the contract on each, and the list."""

import importlib.util
import pickle
import sys

import pytest
from advlib_cases import CASES, DELTA, INFOS, few, spec

from art_flat.attacks import list_attacks, load_attack, load_suite
from art_flat.errors import AttackNotUsableError
from art_flat.testing import AttackContract
from art_flat_advlib._library import library

WIDE = {("PDPGD", "L0"): 45}
"""Radii of attacks that need thousands of steps for small ones."""

QUICK = {("DDN", "L2"), ("APGD", "Linf")}
"""Whose contract is in the default run; that of all others is marked slow."""


def contract(name, norm):
    floor = CASES[name][1].get(norm, 0.8)
    body = {"attack": spec(name, norm), "norm": norm, "strength": floor}
    body["delta"] = WIDE.get((name, norm), DELTA[norm])
    body["problem"] = pytest.fixture(lambda self: few())
    made = type(f"Test{name}{norm}", (AttackContract,), body)
    return made if (name, norm) in QUICK else pytest.mark.slow(made)


PAIRS = [(name, norm) for name in CASES for norm in INFOS[f"advlib:{name}"].norms]

globals().update({f"Test{name}{norm}": contract(name, norm) for name, norm in PAIRS})


def test_every_function_of_the_library_is_listed_once():
    functions = sorted(name for name, thing in vars(library).items() if callable(thing))
    usable = {name.split(":")[1] for name, info in INFOS.items() if info.usability == "usable"}
    assert usable == CASES.keys()
    assert len(INFOS) == len(functions)
    for info in INFOS.values():
        assert info.version == "0.2.8"
        assert bool(info.reason) == (info.usability == "refused")
        assert "new in adv-lib" not in info.reason
        assert all(name.isascii() for name in info.defaults)
        assert not info.defaults.keys() & {"norm", "p", "distance", "targeted", "callback", "starting_points"}


def test_greek_letters_may_be_spelled_out_and_names_can_be_read_again():
    greek, latin = load_attack("advlib:FMN", α_init=2.0), load_attack("advlib:FMN(alpha_init=2.0)")
    assert greek.name == latin.name == "advlib:FMN(alpha_init=2.0)"
    again = pickle.loads(pickle.dumps(greek))
    assert (again.name, again.hash) == (greek.name, greek.hash)


def test_the_largest_loss_is_said_to_be_sought_where_it_is():
    assert load_attack("advlib:APGD(best_loss=True, loss_function='ce')").info.maximises_loss
    assert not load_attack("advlib:APGD(loss_function='ce')").info.maximises_loss


def test_visdom_is_not_needed_and_not_replaced():
    if importlib.util.find_spec("visdom") is None:
        assert "visdom" not in sys.modules
    assert library.ddn.__module__ == "adv_lib.attacks.decoupled_direction_norm"


def test_absence_is_no_news_but_is_said(monkeypatch, recwarn):
    monkeypatch.setitem(sys.modules, "adv_lib", None)  # as if it were not installed
    assert not list_attacks("advlib")
    with pytest.raises(
        AttackNotUsableError, match=r"needs the package adv_lib: pip install --no-deps adv-lib"
    ):
        load_attack("advlib:DDN")
    without = [a.name for a in load_suite("l0")]
    assert not recwarn.list
    monkeypatch.undo()
    assert [a.name for a in load_suite("l0") if not a.name.startswith("advlib:")] == without


@pytest.mark.parametrize(("suite", "least"), [("l2", 5), ("l1", 3), ("l0", 3), ("linf", 1)])
def test_suites_have_them_where_they_are_installed(suite, least):
    assert sum(a.name.startswith("advlib:") for a in load_suite(suite)) >= least
