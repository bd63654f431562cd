"""Figures, against the records."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sampling import slow

from art_flat.errors import InputError, StoreError, UnknownNameError
from art_flat.evaluation import ALL_ATTACKS
from art_flat.reporting import _look, plots
from art_flat.reporting._images import image_layout, triples


def line(axes, label):
    return next(one for one in axes.lines if one.get_label() == label)


DETECTION = pd.DataFrame(
    {
        "attack": "art_flat:PGD(steps=5)", "norm": "Linf", "delta": [0.1, 0.1, 0.2, 0.2], "n": 20,
        "log_kappa_change": -1.0, "seed": [0, 1, 0, 1], "stump": [0.6, 0.7, 0.8, 0.9], "two_thresholds": 0.5,
    }
)  # fmt: skip


def worst_rows(run, norm, delta):
    """Per sample the row with the largest loss, one at a time."""
    records = run.records()
    made = records[(records["norm"] == norm) & (records["delta"] == delta) & (records[norm.lower()] <= delta)]
    return {s: part.loc[part["loss_change"].idxmax()] for s, part in made.groupby("sample")}


@pytest.fixture(scope="module")
def tables(run_folder):
    folder = run_folder / "analyses"
    read = {p.stem: pd.read_parquet(p) for p in folder.glob("*.parquet")}
    return {**read, "scale_sweep": pd.read_csv(folder / "scale_sweep.csv")}


def figures(run, tables):
    yield plots.plot_surface(run)
    yield plots.plot_bracket(run)
    yield plots.plot_security_curve(run, attacks=["art:FastGradientMethod"])
    yield plots.plot_attacks(run)
    yield plots.plot_kappa(run, norm="L2")
    yield plots.plot_confidence(run)
    yield plots.plot_distributions(run)
    yield plots.plot_samples(run, n=2)
    yield plots.plot_trajectories(tables["trajectories"], tables["valley"], from_flip=True)
    yield plots.plot_scale_sweep(tables["scale_sweep"])
    yield plots.plot_radial_profile(tables["radial_profile"], quantity="log_kappa")
    yield plots.plot_detection(DETECTION)


@pytest.mark.parametrize("kind", ["png", slow("svg"), slow("pdf")])
def test_every_figure_is_labelled_and_can_be_saved(run, tables, kind):
    made = list(figures(run, tables))
    assert len(made) == len(plots.__all__)
    for figure in made:
        assert isinstance(figure, Figure)
        sink = io.BytesIO()
        figure.savefig(sink, format=kind)
        assert len(sink.getvalue()) > 1000
        assert any(axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes)


def test_surface_holds_the_shares(run):
    left, right = plots.plot_surface(run, epsilons=[0.1, 1.0]).axes[:2]
    summary = run.summary([0.1, 1.0])
    cell = summary[(summary["attack"] == ALL_ATTACKS) & (summary["norm"] == "Linf")].sort_values("delta")
    for axes, column in ((left, "certified"), (right, "loss_change_robustness")):
        drawn = np.asarray(axes.collections[0].get_array()).reshape(2, 2)
        np.testing.assert_allclose(drawn, [cell[f"{column}@{e}"] for e in ("0.1", "1")])


def test_surface_counts_samples(run):
    table = run.surface([0.3])
    row = table[(table["norm"] == "L2")].iloc[0]
    change = run.records().query("l2 <= 0.5").groupby("sample")["loss_change"].max()
    assert row["n_evaluated"] == 24
    assert row["empirical"] == pytest.approx((change <= 0.3).mean())
    assert row["certified"] <= row["empirical"]
    assert len(run.surface()["epsilon"].unique()) == 49
    with pytest.raises(InputError, match="epsilon"):
        run.surface([-1])


def test_curves_start_at_the_clean_accuracy(run):
    (axes,) = plots.plot_security_curve(run).axes
    x, y = line(axes, "worst of all attacks").get_data()
    records = run.records()
    wrong = records[records["pred_adv"] != records["label"]]
    right = (run.clean["pred"] == run.clean["label"]).mean()
    expected = [right]
    for delta in (0.1, 0.2):
        fooled = set(wrong[wrong["linf"] <= delta]["sample"]) | set(
            run.clean[run.clean["pred"] != run.clean["label"]]["sample"]
        )
        expected.append(1 - len(fooled) / 24)
    np.testing.assert_allclose(x, [0, 0.1, 0.2])
    np.testing.assert_allclose(y, expected)
    (axes,) = plots.plot_bracket(run, epsilon=0.1).axes
    assert (
        line(axes, "certified").get_ydata()[0] == line(axes, "not broken by any attack").get_ydata()[0] == 1
    )


def test_kappa_and_confidence_are_of_the_worst_points(run):
    expected = worst_rows(run, "Linf", 0.2)
    (axes,) = plots.plot_kappa(run).axes
    drawn = np.concatenate([c.get_offsets() for c in axes.collections])
    pairs = sorted(
        (r["log_kappa_clean"] / np.log(10), r["log_kappa_adv"] / np.log(10)) for r in expected.values()
    )
    np.testing.assert_allclose(sorted(map(tuple, drawn)), pairs)
    (axes,) = plots.plot_confidence(run).axes
    drawn = np.concatenate([c.get_offsets() for c in axes.collections])
    assert sorted(drawn[:, 1]) == pytest.approx(sorted(r["confidence_adv"] for r in expected.values()))


def test_outcomes(run):
    table = run.selection().worst("Linf", 0.2).set_index("sample")
    for sample, row in worst_rows(run, "Linf", 0.2).items():
        if row["pred_clean"] != row["label"]:
            expected = "misclassified before the attack"
        elif row["pred_adv"] == row["label"]:
            expected = "still correct"
        else:
            flatter = row["log_kappa_adv"] < row["log_kappa_clean"]
            expected = "wrong and flatter" if flatter else "wrong and sharper"
        assert table.loc[sample, "outcome"] == expected
        assert table.loc[sample, "loss_change"] == row["loss_change"]


def test_nearest_points(run):
    records = run.records()
    right = records["pred_clean"] == records["label"]
    wrong = records[right & (records["pred_adv"] != records["label"]) & (records["l2"] <= 0.5)]
    table = run.selection().nearest("L2", 0.5).set_index("sample")["distance"]
    assert table.to_dict() == wrong.groupby("sample")["l2"].min().to_dict()


def test_attacks_are_sorted_by_what_they_leave(run):
    (axes,) = plots.plot_attacks(run, epsilon=1).axes
    drawn = line(axes, "robust accuracy").get_xdata()
    summary = run.summary([1])
    cell = summary[(summary["norm"] == "Linf") & (summary["delta"] == 0.2)]
    assert list(drawn) == sorted(cell["robust_accuracy"])


def test_images_are_the_points(run):
    rows = run.selection().worst("Linf", 0.2).head(3)
    clip = run.models.iloc[0]
    for row, images in zip(rows.to_dict("records"), triples(run, "cnn", rows), strict=True):
        (clean,) = run.clean_points([row["sample"]])
        (moved,) = run.adversarial_points(run.adversarial.iloc[[row["row"]]])
        for value, pixels in ((clean, images.clean), (moved, images.adversarial)):
            expected = 255 * (value[0] - clip["clip_low"]) / (clip["clip_high"] - clip["clip_low"])
            assert np.abs(expected - pixels).max() <= 0.51
        grey = images.difference.astype(float) / 255 - 0.5
        span = clip["clip_high"] - clip["clip_low"]
        np.testing.assert_allclose(grey / images.factor, (moved - clean)[0] / span, atol=0.003)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((8, 8), "hw"), ((1, 8, 8), "chw"), ((3, 4, 5), "chw"), ((4, 5, 3), "hwc"), ((7,), None)],
)
def test_layout_of_images(shape, layout):
    assert image_layout(shape) == layout


def test_words_of_errors(run):
    with pytest.raises(UnknownNameError, match="unknown model 'cn'"):
        plots.plot_kappa(run, model="cn")
    with pytest.raises(InputError, match=r"no radius δ = 0\.3 in Linf; choose one of 0\.1, 0\.2"):
        plots.plot_kappa(run, delta=0.3)
    with pytest.raises(InputError, match="no radius in L1; choose one of Linf, L2"):
        plots.plot_surface(run, norm=1)
    with pytest.raises(TypeError, match="the radius is `delta`"):
        plots.plot_kappa(run, eps=0.1)
    with pytest.raises(UnknownNameError, match="unknown kind 'odd'"):
        plots.plot_samples(run, kind="odd")
    without = dataclasses.replace(run, points=None)
    with pytest.raises(StoreError, match="points of this run were not saved"):
        plots.plot_samples(without)


def test_detection_is_drawn_as_mean_and_range():
    (axes,) = plots.plot_detection(DETECTION).axes
    drawn = line(axes, "stump")
    np.testing.assert_allclose(drawn.get_xdata(), [0.1, 0.2])
    np.testing.assert_allclose(drawn.get_ydata(), [0.65, 0.85])
    np.testing.assert_allclose(line(axes, "two thresholds").get_ydata(), 0.5)
    assert drawn.get_linestyle() == ":"
    bars = np.asarray(axes.collections[0].get_segments())
    np.testing.assert_allclose(bars, [[[0.1, 0.6], [0.1, 0.7]], [[0.2, 0.8], [0.2, 0.9]]])
    with pytest.raises(InputError, match="no column of a detector"):
        plots.plot_detection(DETECTION[["attack", "norm", "delta", "n"]])
    with pytest.raises(InputError, match="no row"):
        plots.plot_detection(DETECTION[:0])


def test_no_title_is_wider_than_its_figure(tables):
    steps, samples = (
        tables[t].assign(attack="torchattacks:PGD(" + "step_size=0.0078, " * 5)
        for t in ("trajectories", "valley")
    )
    title = plots.plot_trajectories(steps, samples)._suptitle
    title.figure.draw_without_rendering()
    assert title.get_window_extent().width <= title.figure.bbox.width


def test_long_names_of_attacks_leave_room_for_the_axes():
    short, long = _look.short_lines(
        ["art:FastGradientMethod", "torchattacks:CW(" + "kappa=20, " * 9 + "c=10)"]
    )
    assert short == "art:FastGradientMethod"
    assert max(map(len, long.split("\n"))) <= 36
    assert " ".join(long.split("\n")) == "torchattacks:CW(" + "kappa=20, " * 9 + "c=10)"
