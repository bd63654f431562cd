"""Results show themselves in notebooks: short, escaped, with the numbers of the summary and no arrays."""

import pytest

import art_flat as af
from art_flat.diagnostics.finding import Finding, Findings
from art_flat.errors import UnknownNameError
from art_flat.evaluation.progress import progress_callback
from art_flat.testing import example_classifier, example_results

MAIN = ["model", "attack", "norm", "delta", "n_evaluated", "accuracy", "certified_accuracy", "robust_accuracy",
        "flat_fraction", "confidently_wrong_fraction"]  # fmt: skip


def test_every_display_is_short_and_names_its_denominators():
    net, x, y = example_classifier()
    attack = af.load_attack("art_flat:PGD(steps=2)")
    result = attack(net, x, y, delta=0.3)
    shown = [
        example_results(),
        example_results().findings(),
        result,
        af.trace_attack(net, attack, x, y, delta=0.3),
        af.scale_sweep(net, attack, x, y, delta=0.3, scales=[1, 10]),
    ]
    for value in shown:
        html = value._repr_html_()
        assert len(html) < 6000, type(value)
        assert "array(" not in html
        assert "Linf" not in html
    assert f"{100 * result.success.mean():.1f} % of {len(x)}" in result._repr_html_()
    assert (
        repr(result) == "<AttackResult of art_flat:PGD(steps=2), L∞, δ = 0.3: 50.0 % of 4 samples successful>"
    )
    assert "50.0 % of 4" in example_results()._repr_html_()


def test_text_is_escaped():
    finding = Finding("x", "error", "<script>", (), "&")
    assert "<script>" not in Findings([finding])._repr_html_()
    assert Findings([finding]) == [finding]
    assert "nothing suspicious" in Findings()._repr_html_()


def test_summary_begins_with_the_main_columns_and_has_the_others():
    results = example_results()
    everything, main = results.summary([0.1, 1.0]), results.summary([0.1, 1.0], columns="main")
    brackets = [f"{kind}@{e:g}" for e in (0.1, 1.0) for kind in ("loss_change_robustness", "certified")]
    assert list(everything.columns[: len(main.columns)]) == list(main.columns)
    assert list(main.columns[:10]) == MAIN
    assert set(main.columns[10:]) == set(brackets)
    assert len(everything.columns) > 40
    assert list(results.summary(columns=["seconds", "delta"]).columns) == ["seconds", "delta"]
    with pytest.raises(UnknownNameError, match="robust_accuracy"):
        results.summary(columns=["robust_acuracy"])


def test_progress_shows_by_default_only_where_someone_looks(monkeypatch, capsys):
    with progress_callback(None) as notify:
        assert notify is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_callback(None) as notify:
        assert callable(notify)
    with progress_callback(False) as notify:
        assert notify is None
