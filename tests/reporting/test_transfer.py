"""Points found on other models are shown as such, and never as an attack's own."""

import json
import re

import pytest
from page_cases import render

import art_flat as af
from art_flat.evaluation import Results
from art_flat.reporting import plots

DELTA = 8 / 255


@pytest.fixture(scope="module")
def transferred(digits):
    """Two models; points of the one are the worst for the other at every second sample."""
    from art_flat.models import as_classifier, digits_cnn

    net, x, y = digits
    other = as_classifier(digits_cnn(), input_shape=(1, 8, 8), nb_classes=10)
    results = af.evaluate(
        {"own": net, "other": other}, x, y, attacks=["art_flat:PGD(steps=5)", "art:FastGradientMethod"],
        deltas={"Linf": [DELTA, 0.3]}, transfer=True, certify=None, seed=0,
    )  # fmt: skip
    adversarial = results.adversarial.copy()
    foreign = (adversarial["source_model"] != adversarial["model"]) & (adversarial["sample"] % 2 == 0)
    adversarial.loc[foreign, "loss"] += 100.0
    tables = {t: getattr(results, t) for t in ("models", "clean", "certified")}
    return Results(**{**tables, "adversarial": adversarial}, facts=results.facts)


@pytest.fixture(scope="module")
def data(transferred):
    return json.loads(
        re.search(r'type="application/json">(.*?)</script>', render(transferred), re.S).group(1)
    )


def largest(results, model, *, attack=None, source=None):
    rows = results.records().query("model == @model and norm == 'Linf' and delta == 0.3 and linf <= 0.3")
    rows = rows if attack is None else rows[rows["attack"] == attack]
    rows = rows if source is None else rows[rows["source_model"] == source]
    return rows.loc[rows.groupby("sample")["loss_change"].idxmax()].set_index("sample")


def test_an_attack_has_its_own_points_only(transferred):
    select = transferred.selection("own")
    for attack in ("art_flat:PGD(steps=5)", "art:FastGradientMethod"):
        found = select.worst("Linf", 0.3, attack).set_index("sample")
        assert set(found["source_model"]) == {"own"}
        assert (
            found["loss_change"].to_dict()
            == largest(transferred, "own", attack=attack, source="own")["loss_change"].to_dict()
        )
        assert (largest(transferred, "own", attack=attack)["source_model"] == "other").sum() >= len(
            found
        ) // 2


def test_the_worst_case_says_where_its_points_are_from(transferred, data):
    cell = next(c for c in data["cells"] if c["model"] == 0 and c["delta"] == 0.3)
    worst, *single = (c["points"] for c in cell["clouds"])
    expected = largest(transferred, "own")
    names = [data["models"][i] for i in worst["source"]]
    assert dict(zip(worst["sample"], names, strict=True)) == expected["source_model"].to_dict()
    assert all(set(points["source"]) == {0} for points in single)
    assert "found on other models" in render(transferred)


def test_every_cell_has_rows_in_the_table_also_at_radii_of_many_digits(data):
    cells = {(data["models"][c["model"]], c["norm"], c["delta"]) for c in data["cells"]}
    assert cells == {(r["model"], r["norm"], r["delta"]) for r in data["table"]}
    assert ("own", "Linf", DELTA) in cells


def test_curves_of_other_models_are_named(transferred):
    (axes,) = plots.plot_security_curve(transferred, model="own").axes
    labels = [line.get_label() for line in axes.lines]
    assert labels.count("points found on other models") == 1
