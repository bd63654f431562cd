"""Names, entry points and suites."""

import warnings

import pytest

import art_flat as af
from art_flat.attacks import SUITES, PluginWarning, SuiteWarning, load_attacks, load_suite
from art_flat.errors import ConfigError, InputError, ParameterError, UnknownNameError


def test_every_plugin_is_listed_by_its_own_name():
    infos = af.list_attacks()
    assert {"art_flat:PGD", "art_flat:APGD", "art:ProjectedGradientDescent"} <= infos.keys()
    assert all(name == info.name for name, info in infos.items())
    assert all(info.norms and (info.usability == "usable" or info.reason) for info in infos.values())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("torchatacks:PGD", "unknown attack 'torchatacks:PGD': did you mean"),
        ("art_flat:PDG", "'art_flat:PGD'"),
        ("nothing at all", "unknown attack"),
    ],
)
def test_unknown_attack_has_closest_names(spec, words):
    with pytest.raises(UnknownNameError, match=words):
        af.load_attack(spec)


def test_a_name_without_library_must_be_unique():
    assert af.load_attack("NewtonFool").info.name == "art:NewtonFool"
    with pytest.raises(UnknownNameError, match=r"There are .*art_flat:APGD"):
        af.load_attack("APGD")


@pytest.mark.parametrize(
    "spec", ["art_flat:PGD(", "art_flat:PGD(3)", "art_flat:PGD(steps=os)", "art_flat:PGD(**{})"]
)
def test_unreadable_specs(spec):
    with pytest.raises(InputError, match="cannot read the attack"):
        af.load_attack(spec)


def test_names_can_be_read_again():
    attack = af.load_attack("art_flat:PGD", steps=7, random_start=False)
    again = af.load_attack(attack.name)
    assert (again.name, again.hash, dict(again.params)) == (attack.name, attack.hash, dict(attack.params))


def test_the_suite_fast_has_both_libraries_and_both_norms():
    pytest.importorskip("torchattacks")
    attacks = load_suite("fast")
    libraries = [a.info.name.split(":")[0] for a in attacks]
    assert libraries.count("torchattacks") >= 4
    assert libraries.count("art") >= 4
    assert {"art_flat:PGD", "art_flat:APGD"} <= {a.info.name for a in attacks}
    assert {"Linf", "L2"} <= {n for a in attacks for n in a.info.norms}


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_of_the_package_loads(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SuiteWarning)
        attacks = load_suite(name)
    assert len({a.name for a in attacks}) == len(attacks)


def test_own_suite_leaves_out_what_cannot_be_loaded_and_says_so(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('attacks = ["art_flat:PGD(steps=3)", "art_flat:Nonsense"]')
    with pytest.warns(SuiteWarning, match="left out art_flat:Nonsense"):
        assert [a.name for a in load_suite(str(path))] == ["art_flat:PGD(steps=3)"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("attacks = 3", "expected attacks"),
        ("x = [", "not valid TOML"),
        ('attacks = ["no:Such"]', "none of its attacks"),
    ],
)
def test_bad_suites(tmp_path, text, words):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_suite(str(path))


def test_unknown_suite_and_missing_file():
    with pytest.raises(UnknownNameError, match="did you mean 'fast'"):
        load_suite("fats")
    with pytest.raises(ConfigError, match=r"cannot read the suite nowhere\.toml"):
        load_suite("nowhere.toml")


def test_load_attacks_mixes_and_does_not_repeat():
    pgd = af.load_attack("art_flat:PGD(steps=20)")
    names = [a.name for a in load_attacks([pgd, "art_flat:PGD(steps=20)", "art_flat:APGD"])]
    assert names == ["art_flat:PGD(steps=20)", "art_flat:APGD"]
    with pytest.raises(InputError, match="no attack was given"):
        load_attacks([])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import a_package_that_is_not_there", "pip install a_package_that_is_not_there"),
        ("raise RuntimeError('boom')", "RuntimeError: boom; try: pip install --upgrade"),
    ],
)
def test_a_broken_plugin_is_a_warning(tmp_path, monkeypatch, code, words):
    name = f"broken_{len(code)}"
    (tmp_path / f"{name}.py").write_text(code)
    installed = tmp_path / f"{name}-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[art_flat.attacks]\n{name} = {name}:attacks\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(PluginWarning, match=words):
        assert af.list_attacks(name) == {}


def test_parameters_are_checked_at_once():
    with pytest.raises(ParameterError, match="did you mean"):
        af.load_attack("art_flat:APGD(step=3)")
