"""Short names: what a person reads in place of the full text of an attack, unique within a run."""

import pandas as pd
import pytest

import art_flat as af
from art_flat.attacks import as_attack
from art_flat.records import Records
from art_flat.reporting.attack_names import short_names, shortened, with_short_names


def objects(classifier):
    import torchattacks
    from art.attacks.evasion import ProjectedGradientDescent

    return {
        "ProjectedGradientDescent(eps=0.1, eps_step=0.02, max_iter=7)": ProjectedGradientDescent(
            classifier, eps=0.1, eps_step=0.02, max_iter=7, verbose=False
        ),
        "PGD(steps=7)": torchattacks.PGD(classifier.model, steps=7),
        "FGSM": torchattacks.FGSM(classifier.model),
    }


def test_an_object_is_named_by_its_class_and_what_differs_from_the_defaults(digits):
    pytest.importorskip("torchattacks")
    for expected, obj in objects(digits[0].estimator).items():
        attack = as_attack(obj)
        assert attack.short_name == expected
        assert attack.name.startswith("own:")
        assert len(attack.name) > len(expected)


@pytest.mark.parametrize(
    ("spec", "short"),
    [
        ("art_flat:PGD(steps=20, step_size=2/255)", "art_flat:PGD(step_size=2/255, steps=20)"),
        ("art_flat:PGD(steps=20, restarts=1)", "art_flat:PGD(steps=20)"),
        ("art_flat:APGD(steps=3) @mine.2", "art_flat:APGD(steps=3) @mine.2"),
    ],
)
def test_a_registered_attack_omits_defaults_and_keeps_its_library(spec, short):
    assert af.load_attack(spec).short_name == short


def facts(*pairs):
    empty = pd.DataFrame(
        columns=["model", "source_model", "attack", "norm", "delta", "seed", "target", "sample"]
    )
    attacks = [{"name": name} | ({"short_name": short} if short else {}) for name, short in pairs]
    return Records(empty, empty, empty, empty, {"attacks": attacks})


def test_names_stay_unique_and_older_folders_keep_theirs():
    results = facts(("own:F(a=1)", "F"), ("own:F(a=2)", "F"), ("own:G(b=1)", "G"), ("art:H", None))
    assert short_names(results) == {
        "own:F(a=1)": "own:F(a=1)", "own:F(a=2)": "own:F(a=2)", "own:G(b=1)": "G", "art:H": "art:H"
    }  # fmt: skip
    table = with_short_names(pd.DataFrame({"attack": ["own:G(b=1)", "worst of all"]}), results)
    assert table["attack"].tolist() == ["G", "worst of all"]
    assert shortened("own:G(b=1) failed", results) == "G failed"
