"""Tables on terminals of several widths: nothing is cut, and every attack keeps its name."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from art_flat._utils.formatting import radius_text
from art_flat.cli.tables import breakable, summary_tables
from art_flat.evaluation import ALL_ATTACKS

NAMES = [
    "art_flat:PGD(steps=20)",
    "art:AutoProjectedGradientDescent(max_iter=10, nb_random_init=1)",
    "ProjectedGradientDescentPyTorch(eps=8/255, eps_step=0.1, max_iter=100, num_random_init=5)",
    ALL_ATTACKS,
]


def summary(radii):
    rng = np.random.default_rng(0)
    rows = [
        {
            "model": "resnet", "attack": name, "source_model": "resnet", "norm": "Linf", "delta": delta,
            "maximises_loss": True, "n_evaluated": 1000, "n_unfinished": 1, "accuracy": 1.0, "robust_accuracy": 1.0,
            "target_success": np.nan, "certified_accuracy": 1.0, "certified@0.1": 1.0, "n_adversarial": 12,
            "loss_change_robustness@0.1": 1.0, "kappa_clean": 1.23e10, "kappa_adv": 1.23e-10, "seconds": 1.0,
            "flat_fraction": rng.random(), "confidently_wrong_fraction": rng.random(),
        }
        for name in NAMES for delta in radii
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("n_radii", [1, 2, 5, 8])
def test_tables_fit_and_keep_names_and_cells(width, n_radii):
    radii = [(i + 1) / 255 for i in range(n_radii)]
    console = Console(file=io.StringIO(), width=width)
    for table in summary_tables(summary(radii), "paper", width):
        console.print(table)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…‡" not in text
    assert text.count("100.0…100.0‡") == 2 * n_radii
    whole = re.sub(r"\s+", "", re.sub(r"100\.0‡?", "", text))
    for name in NAMES[:3]:
        assert name.replace(" ", "") in whole
        assert name.split("(")[0] in text
    shown = [w for line in text.splitlines() if "δ = " in line for w in line.replace("δ = ", "").split()]
    assert shown == [radius_text(radius) for radius in radii]


def test_long_names_break_before_their_parameters():
    assert breakable("F(a=1)", 6) == "F(a=1)"
    assert breakable("F(a=1)", 5) == "F (a=1)"
