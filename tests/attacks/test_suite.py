"""The suites of the package, and valid suite files."""

import tomllib
from importlib.resources import files

import pytest

import art_flat as af
from art_flat.attacks import SUITES, SuiteWarning, load_suite
from art_flat.attacks.registry import absent_libraries
from art_flat.attacks.suite import load_attacks_for
from art_flat.errors import ConfigError


def specs(name):
    """The attacks that a suite names, with those of optional libraries that are installed."""
    table = tomllib.loads((files("art_flat.attacks") / "suites" / f"{name}.toml").read_text("utf-8"))
    optional = table.get("where_installed", [])
    return table["attacks"] + [spec for spec in optional if spec.partition(":")[0] not in absent_libraries()]


def test_the_package_has_these_suites():
    assert set(SUITES) == {
        "all", "black-box", "fast", "l0", "l1", "l2", "linf", "noise", "paper", "standard",
    }  # fmt: skip


@pytest.mark.parametrize("name", SUITES)
def test_nothing_in_a_suite_is_misspelt_refused_or_said_twice(name):
    """With every plugin installed nothing is left out: a warning would be an error here."""
    pytest.importorskip("torchattacks")
    attacks = load_suite(name)
    assert all(a.info.usability != "refused" for a in attacks)
    if "*" not in specs(name):
        assert len(attacks) == len(set(specs(name)))


@pytest.mark.parametrize(("name", "norm"), [("linf", "Linf"), ("l2", "L2"), ("l1", "L1"), ("l0", "L0")])
def test_every_attack_of_a_norm_suite_has_that_norm(name, norm):
    pytest.importorskip("torchattacks")
    assert all(norm in a.info.norms for a in load_suite(name))


@pytest.mark.parametrize("name", ["fast", "paper", "standard", "linf", "l2", "all"])
def test_our_maximiser_is_in_every_linf_and_l2_suite(name):
    pytest.importorskip("torchattacks")
    assert {"art_flat:PGD", "art_flat:APGD"} & {a.info.name for a in load_suite(name)}


@pytest.mark.parametrize("name", ["black-box", "noise"])
def test_no_gradients_in_black_box_suites(name):
    pytest.importorskip("torchattacks")
    allowed = {"noise": {"none"}, "black-box": {"none", "black-box"}}[name]
    assert {a.info.access for a in load_suite(name)} <= allowed


def test_standard_is_autoattacks_version():
    """APGD-CE, APGD-T, FAB-T with nine targets and 100 steps each, and Square with 5000 queries."""
    pytest.importorskip("torchattacks")
    given = {a.info.name.split(":")[1]: {**a.info.defaults, **a.params} for a in load_suite("standard")}
    assert {"APGD", "APGDT", "FAB", "Square"} <= given.keys()
    assert [given[n]["steps"] for n in ("APGD", "APGDT", "FAB")] == [100] * 3
    assert [given[n]["n_classes"] for n in ("APGDT", "FAB")] == [10, 10]
    assert given["FAB"]["multi_targeted"]
    assert given["Square"]["n_queries"] == 5000


def test_all_is_everything_that_is_not_refused():
    known = {n for n, info in af.list_attacks().items() if info.usability != "refused"}
    assert {a.name for a in load_suite("all")} == known


def own(folder, *attacks):
    path = folder / "mine.toml"
    path.write_text(f"attacks = {list(attacks)}")
    return str(path)


def test_a_star_stands_for_several(tmp_path):
    names = [a.name for a in load_suite(own(tmp_path, "art_flat:PGD", "art_flat:*"))]
    ours = [n for n, info in af.list_attacks("art_flat").items() if info.usability != "refused"]
    assert sorted(names) == sorted(ours)
    with pytest.raises(ConfigError, match=r"none of its attacks can be used here: nothing:\*"):
        load_suite(own(tmp_path, "nothing:*"))


def test_refused_attacks_are_left_out_with_their_reason(tmp_path):
    refused = [info for info in af.list_attacks().values() if info.usability == "refused"]
    assert refused
    with pytest.warns(SuiteWarning, match=f"left out {refused[0].name} \\(refused: ") as said:
        attacks = load_suite(own(tmp_path, "art_flat:PGD", refused[0].name))
    assert [a.name for a in attacks] == ["art_flat:PGD"]
    assert refused[0].reason in str(said[0].message)


@pytest.mark.parametrize("is_absent", [True, False])
def test_attacks_of_an_optional_library_are_left_out_in_silence_where_it_is_absent(
    is_absent, tmp_path, monkeypatch
):
    path = tmp_path / "mine.toml"
    path.write_text('attacks = ["art_flat:PGD"]\nwhere_installed = ["art_flat:APGD"]')
    monkeypatch.setattr("art_flat.attacks.suite.absent_libraries", lambda: ["art_flat"] if is_absent else [])
    names = ["art_flat:PGD"] if is_absent else ["art_flat:PGD", "art_flat:APGD"]
    assert [a.name for a in load_suite(str(path))] == names
    path.write_text('attacks = ["art_flat:PGD"]\nwhere_installed = 3')
    with pytest.raises(ConfigError, match="expected where_installed = "):
        load_suite(str(path))


def unchanged(module, x, y):
    return x


def of_both_norms(tmp_path):
    return own(tmp_path, "art_flat:PGD", "art:DeepFool", "art:NewtonFool")


def test_a_suite_contributes_the_attacks_of_the_norms(tmp_path):
    path = of_both_norms(tmp_path)
    names = [[a.name for a in group] for group in load_attacks_for(path, ["Linf"])]
    assert names == [["art_flat:PGD"], ["art:DeepFool", "art:NewtonFool"]]
    assert load_attacks_for(path, ["Linf", "L2"])[1] == []
    assert load_attacks_for(path, ["L1"])[0] == []


@pytest.mark.parametrize("suite_is_first", [True, False])
def test_an_attack_that_is_named_itself_stays(tmp_path, suite_is_first):
    specs = [of_both_norms(tmp_path), "art:DeepFool", unchanged]
    attacks, left_out = load_attacks_for(specs if suite_is_first else specs[::-1], ["Linf"])
    assert {a.info.name for a in attacks} == {"art_flat:PGD", "art:DeepFool", "own:unchanged"}
    assert [a.name for a in left_out] == ["art:NewtonFool"]
