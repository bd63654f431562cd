"""The page at its edges: large runs, many classes, colour, names with HTML, and what Plotly's bundle can draw."""

import base64
import io
import re
import time
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from page_cases import render
from PIL import Image
from test_page import EVIL, data_of, tables
from torch import nn

import art_flat as af
from art_flat.evaluation import Results
from art_flat.models import as_classifier

CARTESIAN = {
    "scatter", "bar", "box", "heatmap", "histogram", "histogram2d", "histogram2dcontour", "contour",
    "scatterternary", "violin", "image", "pie",
}  # fmt: skip
"""Trace types of Plotly's cartesian bundle, as its documentation lists them."""


def grown(run, samples, attacks, deltas):
    """Tables of the run's shape with rows drawn from it at random: `samples` × `attacks` × radii."""
    rng = np.random.default_rng(0)
    parts = tables(run)

    def drawn(table, n):
        return parts[table].iloc[rng.integers(len(parts[table]), size=n)].reset_index(drop=True)

    clean = drawn("clean", samples)
    clean["sample"] = np.arange(samples)
    frames, certified = [], []
    for norm, radii in deltas.items():
        for delta in radii:
            for attack in attacks:
                frame = drawn("adversarial", samples)
                frame["sample"], frame["attack"], frame["norm"], frame["delta"] = (
                    np.arange(samples), attack, norm, delta,
                )  # fmt: skip
                frame[norm.lower()] = delta * rng.random(samples)
                frame["unit"] = f"{norm}{delta}{attack}"
                frames.append(frame)
            bound = drawn("certified", samples)
            bound["sample"], bound["norm"], bound["delta"] = np.arange(samples), norm, delta
            certified.append(bound)
    known = {**run.facts["attacks"][0]}
    facts = {
        **run.facts,
        "deltas": deltas,
        "n_samples": samples,
        "attacks": [{**known, "name": a, "run_in": list(deltas)} for a in attacks],
    }
    parts |= {"clean": clean, "adversarial": pd.concat(frames), "certified": pd.concat(certified)}
    return Results(**parts, facts=facts)


@pytest.mark.slow
def test_ten_thousand_samples_by_thirty_attacks_stay_under_8_megabytes(run):
    attacks = [f"torchattacks:PGD(steps={i})" for i in range(30)]
    large = grown(run, 10_000, attacks, {"Linf": [0.05, 0.1, 0.2], "L2": [0.5]})
    assert len(large.adversarial) == 1_200_000
    began = time.perf_counter()
    page = render(large)
    assert len(page.encode()) < 8_000_000 - 2_600_000  # room for the images that these records have not
    assert time.perf_counter() - began < 300
    stated = data_of(page)["stated"]
    assert stated["samples"] == 10_000
    assert 40 <= stated["single"] <= stated["worst"] < 10_000


def test_a_thousand_classes(run):
    parts = tables(run)
    rng = np.random.default_rng(0)
    for table in ("clean", "adversarial"):
        parts[table]["pred"] = pd.array(rng.integers(1000, size=len(parts[table])), dtype="Int64")
    parts["clean"]["label"] = rng.integers(1000, size=len(parts["clean"]))
    parts["models"]["nb_classes"] = 1000
    data = data_of(render(Results(**parts, facts=run.facts)))
    points = data["cells"][0]["clouds"][0]["points"]
    assert max(points["pred"]) > 500


def test_attack_names_and_notes_are_escaped(run):
    parts = tables(run)
    name = run.facts["attacks"][0]["name"]
    parts["adversarial"]["attack"] = parts["adversarial"]["attack"].replace(name, EVIL)
    attacks = [
        {**a, **({"name": EVIL, "short_name": EVIL} if a["name"] == name else {}), "notes": [EVIL]}
        for a in run.facts["attacks"]
    ]
    page = render(Results(**parts, facts={**run.facts, "attacks": attacks}))
    assert "<img src=x" not in page
    assert EVIL in {row["attack"] for row in data_of(page)["table"]} or EVIL in data_of(page)["attacks"]


def test_colour_images_are_in_colour():
    rng = np.random.default_rng(0)
    x, y = rng.random((6, 3, 8, 8), dtype=np.float32), np.arange(6) % 3
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    net = af.adapt(as_classifier(model, input_shape=(3, 8, 8), nb_classes=3))
    results = af.evaluate(
        net,
        x,
        y,
        attacks=["art_flat:PGD(steps=2)"],
        deltas={"Linf": [0.2]},
        certify=None,
        save_adversarial=True,
    )
    images = data_of(render(results))["images"]
    assert images["n"] == 6
    clean = Image.open(io.BytesIO(base64.b64decode(images["clean"]["0:0"].split(",")[1])))
    assert clean.mode == "RGB"
    shown = np.asarray(clean.resize((8, 8), Image.Resampling.NEAREST), float) / 255
    np.testing.assert_allclose(shown, x[0].transpose(1, 2, 0), atol=1 / 255)


def test_only_what_the_bundle_can_draw():
    script = (files("art_flat.reporting") / "page" / "report.js").read_text(encoding="utf-8")
    kinds = set(re.findall(r'\btype: "(\w+)"', script)) - {"log", "category", "line", "button"}
    assert {"heatmap", "box"} <= kinds
    assert kinds <= CARTESIAN
