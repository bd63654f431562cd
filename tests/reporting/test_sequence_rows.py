"""A sequence has one line, with its steps below it in order: in the terminal, in Markdown and on the report's page."""

import math

import pandas as pd
import pytest

import art_flat as af
from art_flat.reporting._data import page_data
from art_flat.reporting._strongest import strongest, with_optimality
from art_flat.reporting.compact import compact_notes, compact_tables
from art_flat.testing import example_classifier, example_results

LEFT = {  # robust accuracy after each attack, at δ = 0.05 and 0.3; NaN where no sample was left
    "art_flat:PGD": (0.75, 0.5),
    "art_flat:APGD @strong.1": (0.75, 0.25),
    "torchattacks:FAB @strong.2": (0.5, 0.0),
    "torchattacks:Square @strong.10": (0.5, None),
    "art_flat:APGD": (1.0, 0.75),
}


@pytest.fixture
def summary():
    frame = example_results().summary([0.1])
    worst, single = frame[frame["attack"] == "(worst of all)"], frame[frame["attack"] != "(worst of all)"]
    single = single.drop_duplicates("delta").sort_values("delta")
    rows = [
        row._replace(attack=name, robust_accuracy=left)
        for name, both in LEFT.items()
        for row, left in zip(single.itertuples(index=False, name="Row"), both, strict=True)
        if left is not None
    ]
    made = pd.DataFrame(rows)
    made.columns = frame.columns
    return pd.concat([worst, made[::-1]])  # in another order than they ran


def test_one_line_with_its_steps_below(summary):
    (table,) = compact_tables(summary, "paper")
    assert [list(line) for line in table.sections[1].lines] == [
        ["strong", "50.0", "0.0"],
        ["↳ after art_flat:APGD", "75.0", "25.0"],
        ["↳ after torchattacks:FAB", "50.0", "0.0"],
        ["↳ after torchattacks:Square", "50.0", "–"],
        ["art_flat:PGD", "75.0", "50.0"],
        ["art_flat:APGD", "100.0", "75.0"],
    ]


def test_the_share_says_of_what(summary):
    (note,) = [note for note in compact_notes(summary) if "strong" in note]
    assert "share of all samples" in note
    plain = summary[~summary["attack"].str.contains("@")]
    assert not [note for note in compact_notes(plain) if "step" in note]


def test_a_sequence_that_failed_is_last(summary):
    failed = summary["attack"].str.contains("@")
    summary.loc[failed, "robust_accuracy"] = math.nan
    (table,) = compact_tables(summary, "paper")
    assert [line[0] for line in table.sections[1].lines][:3] == ["art_flat:PGD", "art_flat:APGD", "strong"]


def test_a_name_with_an_at_sign_that_is_no_position(summary):
    plain = summary[summary["attack"].isin(["(worst of all)", "art_flat:PGD"])].replace(
        "art_flat:PGD", 'mine:step(note="a @b")'
    )
    (table,) = compact_tables(plain, "paper")
    assert [list(line) for line in table.sections[1].lines] == [['mine:step(note="a @b")', "75.0", "50.0"]]


@pytest.fixture(scope="module")
def sequence_run():
    net, x, y = example_classifier()
    attacks = [
        "art_flat:GaussianNoise @strong.2",
        "art_flat:PGD(steps=3) @strong.1",
        "art_flat:UniformNoise",
    ]
    return af.evaluate(net, x, y, attacks=attacks, deltas={"Linf": [0.05, 0.3]}, certify=None)


def accuracy_left(results, names, delta):
    """The share of samples that is right and stays so at every point of these attacks in the ball."""
    rows = results.adversarial[results.adversarial["attack"].isin(names)]
    label = results.clean.set_index("sample")["label"]
    wrong = rows[(rows["pred"] != rows["sample"].map(label)) & (rows["linf"] <= delta)]["sample"]
    right = results.clean[results.clean["pred"] == results.clean["label"]]["sample"]
    return len(set(right) - set(wrong)) / len(results.clean)


def test_the_page_has_one_row_per_sequence_with_its_steps(sequence_run):
    scores = with_optimality(sequence_run.summary(), sequence_run.optimality())
    data = page_data(sequence_run, "paper", scores)
    rows = [row for row in data["table"] if row["attack"] == "strong"]
    assert [row["delta"] for row in rows] == [0.05, 0.3]
    for row in rows:
        ran = sequence_run.adversarial[lambda t, d=row["delta"]: t["delta"] == d]
        names = [n for n in ("art_flat:PGD(steps=3) @strong.1", "art_flat:GaussianNoise @strong.2")
                 if (ran["attack"] == n).any()]  # fmt: skip
        assert [s["attack"] for s in row["steps"]] == [f"↳ after {n.split(' @')[0]}" for n in names]
        left = [accuracy_left(sequence_run, names[: i + 1], row["delta"]) for i in range(len(names))]
        assert [s["robust_accuracy"] for s in row["steps"]] == pytest.approx(left, abs=1e-4)
        assert row["robust_accuracy"] == pytest.approx(left[-1], abs=1e-4)
        assert row["n_evaluated"] == len(sequence_run.clean)
        assert row["seconds"] == pytest.approx(ran.loc[ran["attack"].isin(names), "seconds"].sum(), rel=1e-3)
    assert not [row for row in data["table"] if "@" in row["attack"] or (row["steps"] and row not in rows)]
    assert {c["attack"] for c in data["curves"]} == {"strong", "art_flat:UniformNoise", "(worst of all)"}


def test_the_strongest_attack_is_the_sequence(sequence_run):
    scores = with_optimality(sequence_run.summary(), sequence_run.optimality())
    worst = scores[(scores["attack"] == "(worst of all)") & (scores["delta"] == 0.3)].iloc[0]
    last = strongest(scores)[-1]
    assert last["accuracy"].startswith("strong (")
    assert f"of {worst['n_evaluated']}" in last["accuracy"]
    assert not any("@" in text for text in last.values())
