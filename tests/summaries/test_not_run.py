"""Every requested attack and norm is in the summary, or in `not_run` with the reason."""

import warnings

import pytest
import torch

import art_flat as af
from art_flat import metrics
from art_flat.attacks import as_attack
from art_flat.errors import InputError
from art_flat.models import as_classifier, fcn
from art_flat.reporting._page import render
from art_flat.scorers import loss_change_robustness_scorer


def far(module, x, y):
    return 1 - x


@pytest.fixture(scope="module")
def case():
    module = fcn(4, (8,), 3)
    x = torch.rand(12, 4, generator=torch.Generator().manual_seed(0))
    return as_classifier(module, input_shape=(4,), nb_classes=3), x, module(x).argmax(dim=1)


def evaluated(case, **options):
    return af.evaluate(*case, certify=None, **options)


ASKED = {"attacks": ["art_flat:GaussianNoise", "art:DeepFool"], "deltas": {"Linf": [0.1, 0.2]}}


@pytest.fixture(scope="module")
def results(case):
    return evaluated(case, **ASKED)


def test_an_attack_without_a_norm_in_common_is_in_the_summary_and_the_list(results):
    summary = results.summary().set_index(["attack", "delta"])
    for delta in (0.1, 0.2):
        row = summary.loc["art:DeepFool", delta]
        assert (row["n_evaluated"], row["n_skipped"]) == (0, 12)
        assert summary.loc["art_flat:GaussianNoise", delta]["n_evaluated"] == 12
        assert summary.loc["(worst of all)", delta]["n_evaluated"] == 12
    (row,) = results.not_run().to_dict("records")
    assert (row["attack"], row["norm"]) == ("art:DeepFool", "Linf")
    assert row["reason"] == "art:DeepFool does not support the norm Linf; it supports L2"


def test_text_and_report_begin_with_it(results):
    line = "not run: model, art:DeepFool, L∞: art:DeepFool does not support the norm Linf"
    text = results.to_markdown().replace("\\", "")
    assert text.index(line) < text.index("| robust accuracy")
    page = render(results)
    assert page.index(line) < page.index("<table")


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "mine.toml"
    path.write_text(
        'attacks = ["art_flat:GaussianNoise", "art:DeepFool", "art:NewtonFool"]', encoding="utf-8"
    )
    return str(path)


def test_attacks_of_a_suite_in_other_norms_are_only_named_as_left_out(case, suite):
    results = evaluated(case, attacks=suite, deltas={"Linf": [0.1]})
    assert set(results.summary()["attack"]) == {"art_flat:GaussianNoise"}
    assert results.not_run().empty
    assert not {f.id for f in results.findings()} & {"skipped-attacks"}
    left_out = results.facts["left_out"]
    assert left_out == [{"name": name, "norms": ["L2"]} for name in ("art:DeepFool", "art:NewtonFool")]
    assert "art:DeepFool (L2)" in render(results).replace("<wbr>", "")
    both = evaluated(case, attacks=suite, deltas={"Linf": [0.1], "L2": [0.5]})
    assert both.facts["left_out"] == []
    assert set(both.summary().query("norm == 'L2'")["attack"]) >= {"art:DeepFool", "art:NewtonFool"}


def test_one_of_them_that_is_named_itself_is_in_the_list(case, suite):
    results = evaluated(case, attacks=[suite, "art:DeepFool"], deltas={"Linf": [0.1]})
    assert [row["attack"] for row in results.not_run().to_dict("records")] == ["art:DeepFool"]
    assert [entry["name"] for entry in results.facts["left_out"]] == ["art:NewtonFool"]


def test_a_suite_without_an_attack_in_the_norms_is_an_error(case, suite):
    with pytest.raises(
        InputError, match=r"none of the attacks supports a norm of `deltas` \(L0\); they support"
    ):
        evaluated(case, attacks=suite, deltas={"L0": [1]})


def test_metrics_and_scorers_take_the_attacks_of_a_suite_in_the_norm(case, suite):
    one = metrics.loss_change_robustness(
        *case, attack=suite, delta=0.1, epsilon=0.1, norm="Linf"
    )  # a warning would be an error
    assert one == metrics.loss_change_robustness(
        *case,
        attack=["art_flat:GaussianNoise", "art:DeepFool", "art:NewtonFool"],
        delta=0.1,
        epsilon=0.1,
        norm="Linf",
    )
    scorer = loss_change_robustness_scorer(delta=0.1, epsilon=0.1, attack=suite)
    alone = loss_change_robustness_scorer(delta=0.1, epsilon=0.1, attack="art_flat:GaussianNoise")
    assert scorer(*case) == alone(*case)
    with pytest.raises(InputError, match="supports the norm L0"):
        loss_change_robustness_scorer(delta=1, epsilon=0.1, norm="L0", attack=suite)


def test_a_norm_that_no_attack_supports_is_in_the_list(case):
    asked = {"Linf": [0.1], "L0": [2.0]}
    rows = evaluated(case, attacks=["art_flat:GaussianNoise"], deltas=asked).not_run().to_dict("records")
    assert [(r["attack"], r["norm"], r["reason"]) for r in rows] == [
        (None, "L0", "none of the attacks supports L0")
    ]


def test_norms_of_other_attacks_are_not_in_the_list(case):
    results = evaluated(case, attacks=ASKED["attacks"], deltas={"Linf": [0.1], "L2": [0.5]})
    assert results.not_run().empty
    assert len(results.summary().query("attack == 'art:DeepFool'")) == 1


def test_without_any_norm_in_common_nothing_runs(case):
    with pytest.raises(InputError, match="none of the attacks supports a norm"):
        evaluated(case, attacks=["art:DeepFool"], deltas={"Linf": [0.1]})


def test_places_of_a_sequence_that_got_nothing_are_units_and_in_the_list(case, tmp_path):
    classifier, x, _ = case
    wrong = (classifier.model(x).argmax(dim=1) + 1) % 3  # nothing is right, so nothing is left
    attacks = ["art_flat:GaussianNoise @s.1", "art_flat:UniformNoise @s.2"]
    results = evaluated((classifier, x, wrong), attacks=attacks, deltas={"Linf": [0.1, 0.2]})
    rows = results.not_run()
    assert rows["attack"].tolist() == ["art_flat:UniformNoise @s.2"]
    assert rows["reason"].tolist() == ["the earlier attacks of its sequence fooled every sample"]
    assert results.total_units == 4
    results.save(tmp_path / "saved")
    assert af.Results.load(tmp_path / "saved").total_units == 4


def test_metrics_name_what_they_leave_out(case):
    only = as_attack(far, name="only_l2", norms="L2", budget="fixed")

    def noise(attacks):
        return metrics.loss_increase(*case, attack=attacks, delta=0.1, norm="Linf")

    words = r"left out, since they do not support Linf: own:only_l2 \(supports L2\)"
    with pytest.warns(metrics.AttackNotRunWarning, match=words):
        found = noise(["art_flat:GaussianNoise", only])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert noise("art_flat:GaussianNoise") == found
