"""A sequence has one line, with its steps below it in order, in the short tables of the terminal and of Markdown."""

import math

import pandas as pd
import pytest

from art_flat.reporting.compact import compact_notes, compact_tables
from art_flat.testing import example_results

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
