"""The page: complete, self-contained, escaped, small; also where there is little to show."""

import json
import re
from html.parser import HTMLParser

import pytest
from page_cases import render

import art_flat as af
from art_flat.errors import UnknownNameError
from art_flat.evaluation import Results

EVIL = '<img src=x onerror="alert(1)"></script><b>&'


def data_of(page):
    return json.loads(
        re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S).group(1)
    )


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def tables(run):
    return {t: getattr(run, t).copy() for t in ("models", "clean", "adversarial", "certified")}


def test_complete_and_self_contained(run, tmp_path):
    path = run.report(tmp_path / "new" / "report.html")
    page = path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    for part in ("verdict", "surface", "attacks", "flatness", "valley", "samples", "made"):
        assert f'<section id="{part}">' in page
    for tag, attributes in Elements(page).found:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert "src" not in attributes
        assert not attributes.get("href", "#").startswith(("http", "//"))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src &#39;none&#39;") or policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_says_what_the_records_say(run):
    data = data_of(render(run))
    summary = run.summary()
    assert len(data["table"]) == len(summary)
    worst = next(c for c in data["cells"] if c["norm"] == "Linf" and c["delta"] == 0.2)["clouds"][0]
    assert sum(worst["outcomes"]) == worst["n"] == run.facts["n_samples"]
    expected = run.selection().worst("Linf", 0.2)
    assert worst["points"]["change"] == pytest.approx(expected["loss_change"].tolist(), rel=1e-3, abs=1e-6)
    assert data["images"]["n"] > 0
    assert set(data["images"]["points"]) <= {str(i) for i in run.adversarial.index}


def test_names_are_escaped(run):
    parts = tables(run)
    for table in parts.values():
        if "model" in table:
            table["model"] = EVIL
    parts["adversarial"]["source_model"] = EVIL
    parts["adversarial"].loc[0, ["status", "error"]] = ["failed", EVIL]
    parts["adversarial"].loc[0, "loss"] = float("nan")
    page = render(Results(**parts, facts={**run.facts, "models": {EVIL: {}}}))
    assert "<img src=x" not in page
    assert data_of(page)["models"] == [EVIL]
    assert len(re.findall("</script>", page)) == 6


def test_nothing_recorded(run):
    parts = tables(run)
    parts["adversarial"] = parts["adversarial"].iloc[:0]
    page = render(Results(**parts, facts=run.facts))
    assert "No attack was recorded" in page
    assert "save_adversarial" in page


def test_all_failed(run):
    parts = tables(run)
    adv = parts["adversarial"]
    numbers = adv.select_dtypes("float").columns.difference(["delta", "seconds"])
    adv[numbers] = float("nan")
    adv["status"], adv["error"], adv["pred"] = "failed", "out of memory", -1
    page = render(Results(**parts, facts=run.facts))
    assert "out of memory" in page
    assert "every attack failed or was skipped" in page


def test_single_sample_and_unknown_definition(digits):
    net, x, y = digits
    one = af.evaluate(
        net, x[:1], y[:1], attacks=["art_flat:PGD(steps=2)"], deltas={"L2": [0.5]}, certify=None
    )
    assert data_of(render(one))["stated"]["samples"] == 1
    with pytest.raises(UnknownNameError):
        one.report("never.html", definition="papper")
