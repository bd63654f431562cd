"""Between two radii figures show bounds, not straight lines: read from what is drawn."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.cbook import STEP_LOOKUP_MAP

import art_flat
from art_flat.evaluation import ALL_ATTACKS
from art_flat.reporting import plots
from art_flat.reporting._steps import known_points, open_area

RADII = [0.1, 0.2]
NODE = shutil.which("node")


def drawn(axes, label):
    """The corners of a curve as matplotlib draws it."""
    (line,) = (one for one in axes.lines if one.get_label() == label)
    return np.stack(STEP_LOOKUP_MAP[line.get_drawstyle()](*line.get_data()))


def height(corners, delta):
    """The height of a drawn curve strictly between two of its corners."""
    x, y = corners
    j = next(i for i in range(len(x) - 1) if x[i] < delta < x[i + 1])
    assert y[j] == y[j + 1], "the curve is not horizontal between two radii"
    return y[j]


def upper_end(values, at_zero, delta):
    """The attacked share of the largest radius that is not above δ."""
    return [at_zero, *values][sum(radius <= delta for radius in RADII)]


def lower_end(values, delta):
    """The certified share of the smallest radius that is not below δ."""
    return values[sum(radius < delta for radius in RADII)]


def worst(run):
    table = run.summary()
    at = (table["attack"] == ALL_ATTACKS) & (table["norm"] == "Linf")
    return table[at].sort_values("delta")


BETWEEN = [1e-9, 0.05, 0.0999, 0.1001, 0.15, 0.1999]


def test_security_curve_is_a_step_between_radii(run):
    table = worst(run)
    (axes,) = plots.plot_security_curve(run, attacks=["art:FastGradientMethod"]).axes
    attacked, certified = drawn(axes, "worst of all attacks"), drawn(axes, "certified")
    single = run.summary()
    single = single[(single["attack"] == "art:FastGradientMethod") & (single["norm"] == "Linf")]
    for delta in BETWEEN:
        accuracy = table["accuracy"].iloc[0]
        assert height(attacked, delta) == upper_end(table["robust_accuracy"], accuracy, delta)
        assert height(certified, delta) == lower_end(list(table["certified_accuracy"]), delta)
        expected = upper_end(single.sort_values("delta")["robust_accuracy"], accuracy, delta)
        assert height(drawn(axes, "art:FastGradientMethod"), delta) == expected


def test_bracket_is_open_between_its_steps(run):
    table = run.surface([0.1]).query("norm == 'Linf'").sort_values("delta")
    (axes,) = plots.plot_bracket(run, epsilon=0.1).axes
    attacked, certified = drawn(axes, "not broken by any attack"), drawn(axes, "certified")
    (area,) = axes.collections
    (polygon,) = area.get_paths()
    for delta in BETWEEN:
        low, high = lower_end(list(table["certified"]), delta), upper_end(table["empirical"], 1.0, delta)
        assert (height(certified, delta), height(attacked, delta)) == (low, high)
        for share in np.linspace(0.003, 0.997, 40):
            assert polygon.contains_point((delta, share)) == (low < share < high)


def test_nothing_certified_leaves_everything_open_below_the_attacks(run):
    nan = float("nan")
    x, low, high = open_area(RADII, [0.8, 0.5], [nan, nan], 1.0)
    assert (low == 0).all()
    np.testing.assert_array_equal(np.interp([0.05, 0.15], x, high), [1.0, 0.8])


def test_unknown_shares_are_bridged_by_the_bounds_that_still_hold():
    nan = float("nan")
    _, low, high = open_area([1, 2, 3, 4], [0.9, nan, 0.7, 0.6], [nan, 0.5, nan, nan], 1.0)
    np.testing.assert_array_equal(high[::2], [1.0, 0.9, 0.9, 0.7])
    np.testing.assert_array_equal(low[::2], [0.5, 0.5, 0.0, 0.0])
    x, y = known_points([1, 2, 3, 4], [nan, 0.5, nan, nan], 1.0)
    assert x.tolist() == [0, 2]
    assert y.tolist() == [1.0, 0.5]


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize(
    ("attacked", "certified"), [([0.8, 0.5], [0.6, 0.4]), ([0.8, None], [None, 0.4]), ([0.8, 0.5], [None, None])]
)  # fmt: skip
def test_the_page_draws_the_same_steps(attacked, certified):
    script = Path(art_flat.__file__).parent / "reporting" / "page" / "look.js"
    code = f"""
const document = {{ documentElement: {{}}, getElementById: () => ({{ textContent: '{{"colours": {{}}}}' }}) }};
{script.read_text(encoding="utf-8")}
console.log(JSON.stringify(Look.bracket({RADII}, {json.dumps(attacked)}, {json.dumps(certified)}, 1,
  {{ certified: {{ name: "low" }}, attacked: {{ name: "high" }} }})));
"""
    answer = subprocess.run([NODE, "-"], input=code, capture_output=True, text=True, check=True, timeout=60)
    traces = {trace["name"]: trace for trace in json.loads(answer.stdout)}
    numbers = [[float("nan") if v is None else v for v in values] for values in (attacked, certified)]
    x, low, high = open_area(RADII, *numbers, 1.0)
    area = traces.pop("open")
    assert area["x"] == [*x, *x[::-1]]
    assert area["y"] == [*high, *low[::-1]]
    assert area["fill"] == "toself"
    shapes = {name: trace["line"]["shape"] for name, trace in traces.items()}
    expected = {"low": "vh", "high": "hv"}
    assert shapes == {name: expected[name] for name in shapes}
    for name, values in zip(("high", "low"), numbers, strict=True):
        if name in traces:
            points = [a.tolist() for a in known_points(RADII, values, 1.0)]
            assert [traces[name]["x"], traces[name]["y"]] == points
