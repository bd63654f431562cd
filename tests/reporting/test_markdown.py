"""Markdown is parsed back by markdown-it, GitHub's tables switched on, and compared with the summary."""

import dataclasses
import math

import pytest
from markdown_it import MarkdownIt
from page_cases import render

import art_flat as af
from art_flat.attacks import as_attack
from art_flat.evaluation import ALL_ATTACKS


def parse(text):
    """Tables as lists of rows of plain text, and the texts of everything else."""
    tables, others, inside = [], [], False
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        inside = (inside or token.type == "table_open") and token.type != "table_close"
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type == "inline":
            plain = "".join(c.content for c in token.children)
            assert {c.type for c in token.children} <= {"text", "strong_open", "strong_close"}
            (tables[-1][-1] if inside else others).append(plain)
    return tables, others


def test_wide_tables_hold_the_numbers_of_the_summary(run):
    frame = run.summary([0.3])
    tables, others = parse(run.to_markdown([0.3], wide=True))
    groups = [part for _, part in frame.groupby(["model", "norm"], sort=False)]
    assert len(tables) == len(groups)
    for (head, *body), part in zip(tables, groups, strict=True):
        assert head[:4] == ["attack", "δ", "n", "accuracy"]
        assert "Δℓ ≤ 0.3 nats" in head
        assert len(body) == len(part)
        for cells, row in zip(body, part.to_dict("records"), strict=True):
            found = dict(zip(head, cells, strict=True))
            assert found["attack"].rstrip("†") == row["attack"]
            assert found["attack"].endswith("†") == (not row["maximises_loss"])
            assert float(found["δ"]) == pytest.approx(row["delta"], rel=1e-3)
            assert int(found["n"]) == row["n_evaluated"]
            for title, column in (("accuracy", "accuracy"), ("robust accuracy", "robust_accuracy")):
                assert float(found[title].removesuffix(" %")) == pytest.approx(100 * row[column], abs=0.05)
            *low, high = found["Δℓ ≤ 0.3 nats"].removesuffix(" %").split("…")
            assert float(high) == pytest.approx(100 * row["loss_change_robustness@0.3"], abs=0.05)
            assert bool(low) == (row["attack"] == ALL_ATTACKS and not math.isnan(row["certified@0.3"]))
            kappa = float(found["κ adv."].replace("–", "nan"))
            assert kappa == pytest.approx(row["kappa_adv"], rel=5e-3, nan_ok=True)
    assert [o for o in others if o.startswith("cnn, ")] == ["cnn, L∞", "cnn, L2"]
    assert any("upper estimate" in o for o in others)


def test_short_tables_hold_the_numbers_of_the_summary(run):
    frame = run.summary([0.3])
    tables, _ = parse(run.to_markdown([0.3]))
    groups = [part for _, part in frame.groupby(["model", "norm"], sort=False)]
    assert len(tables) == len(groups)
    for (head, *body), part in zip(tables, groups, strict=True):
        lines = {line[0]: line[1:] for line in body}
        assert [float(h.removeprefix("δ = ")) for h in head[1:]] == sorted(part["delta"].unique())
        assert body[0][0] == "worst of all attacks"
        for row in part.to_dict("records"):
            column = head.index(f"{row['delta']:g}") if f"{row['delta']:g}" in head else 1
            cell = {title: cells[column - 1] for title, cells in lines.items()}
            if row["attack"] != ALL_ATTACKS:
                assert float(cell[row["attack"]]) == pytest.approx(100 * row["robust_accuracy"], abs=0.05)
                continue
            ends = [(row["certified_accuracy"], row["robust_accuracy"], "robust accuracy")]
            ends += [(row["certified@0.3"], row["loss_change_robustness@0.3"], "Δℓ ≤ 0.3 nats")]
            for low, high, title in ends:
                found = [float(v) for v in cell[title].split("…")]
                assert found == pytest.approx([100 * v for v in (low, high) if v == v], abs=0.05)
            assert int(cell["fooled samples"]) == row["n_adversarial"]
        names = [
            line[0]
            for line in body[body.index(next(b for b in body if b[0].startswith("robust accuracy by"))) + 1 :]
        ]
        means = part[part["attack"] != ALL_ATTACKS].groupby("attack")["robust_accuracy"].mean()
        assert means[names].is_monotonic_increasing


def test_names_and_errors_are_text_not_markup(digits):
    net, x, y = digits

    def bad(module, x, y):
        raise ValueError("<script>alert(1)</script> | *no*\n`more` [a](http://b)")

    name = "a|b *c* <img src=x> `d` _e_"
    results = af.evaluate(
        {name: net}, x, y, attacks=["art_flat:PGD(steps=2)", as_attack(bad, norms=["Linf"])],
        deltas={"Linf": [0.1]}, certify=None,
    )  # fmt: skip
    tables, others = parse(results.to_markdown())
    assert any(o.startswith(f"{name}, L∞: 24 samples, accuracy ") for o in others)
    assert all(len(row) == len(tables[0][0]) for row in tables[0])
    assert any("<script>alert(1)</script> | *no* `more` [a](http://b)" in o for o in others)
    assert any("24 samples failed" in o for o in others)


@pytest.mark.slow
def test_definition_and_bad_arguments(run):
    assert "neuronwise, nats" in parse(run.to_markdown(definition="neuronwise"))[1][-1] + run.to_markdown(
        definition="neuronwise"
    )
    with pytest.raises(ValueError, match="papr"):
        run.to_markdown(definition="papr")
    with pytest.raises(ValueError, match="epsilon"):
        run.to_markdown([-1.0])


def test_units_that_are_not_computed_yet_are_counted(run_folder):
    results = af.Results.load(run_folder)
    assert "not computed" not in results.to_markdown()
    total = results.adversarial["unit"].nunique()
    results = dataclasses.replace(results, missing_units=3)
    _, others = parse(results.to_markdown())
    assert others[0].startswith(f"not computed yet: 3 of {total + 3} units")
    assert f"{total + 3} units" in render(results)
    assert "3 not computed yet" in render(results)
