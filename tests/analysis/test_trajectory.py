"""What the probe records, against the model asked again at the points themselves, and what it leaves behind."""

import numpy as np
import pandas as pd
import pytest
import torch
from sampling import slow
from tolerances import close
from torch import nn
from traced import asked_again, make, wide_fixture  # noqa: F401

import art_flat as af
from art_flat.analysis import trace_attack
from art_flat.attacks import load_attack
from art_flat.errors import InputError, ParameterError, UnknownNameError
from art_flat.models import as_classifier

COLUMNS = ["sample", "step", "loss", "kappa", "log_kappa", "confidence", "label", "distance"]


@pytest.mark.parametrize("name", ["art_flat:PGD(steps=6)", "torchattacks:PGD(steps=6)"])
def test_equals_a_loop_over_stored_iterates(wide, name):
    if name.startswith("torchattacks"):
        pytest.importorskip("torchattacks", reason="torchattacks is not installed")
    net, x, y = wide
    attack = load_attack(name)
    stored = []
    first = next(m for m in net.estimator.model.modules() if isinstance(m, nn.Conv2d))
    handle = first.register_forward_pre_hook(lambda module, args: stored.append(args[0].detach().clone()))
    try:
        result = attack(net, x, y, delta=0.2, seed=3)
    finally:
        handle.remove()
    iterates = [s.double() for s in stored[1:-1]]  # between the passes of the clean and of the final points
    while np.array_equal(iterates[0], x):
        iterates.pop(0)  # step 0 is the clean point already
    traced = trace_attack(net, attack, x, y, delta=0.2, seed=3)
    np.testing.assert_array_equal(traced.result.x, result.x)
    frame = traced.frame()
    assert list(frame.columns) == COLUMNS
    assert len(iterates) >= 6
    for step, points in enumerate([x, *iterates, result.x]):
        rows = frame[frame["step"] == step].sort_values("sample")
        np.testing.assert_array_equal(rows["sample"], range(12))
        for column, values in asked_again(net, points, y).items():
            np.testing.assert_allclose(rows[column], values, err_msg=column, **close("net"))
        np.testing.assert_allclose(rows["log_kappa"], np.log(rows["kappa"]), rtol=1e-9, atol=1e-9)
        length = np.abs(np.asarray(points) - x).reshape(12, -1).max(1)
        np.testing.assert_allclose(rows["distance"], length, **close("value"))
    assert frame["step"].max() == len(iterates) + 1


@pytest.mark.parametrize("library", ["torchattacks", "art"])
@pytest.mark.parametrize("attack", ["PGD", slow("APGD"), slow("CW"), slow("DeepFool"), slow("Square")])
def test_attacks_of_both_libraries(digits, library, attack):
    if library == "torchattacks":
        pytest.importorskip("torchattacks", reason="torchattacks is not installed")
        name = {"CW": "CW(steps=15, lr=0.1, c=5)", "PGD": "PGD(steps=5)"}.get(attack, attack)
    else:
        name = {
            "PGD": "ProjectedGradientDescent(max_iter=5)",
            "APGD": "AutoProjectedGradientDescent(max_iter=5, nb_random_init=1)",
            "CW": "CarliniL2Method(max_iter=3, binary_search_steps=2)",
            "DeepFool": "DeepFool(max_iter=10)",
            "Square": "SquareAttack(max_iter=20)",
        }[attack]
    net, x, y = digits
    x, y = x[:8], y[:8]
    attack = load_attack(f"{library}:{name}")
    delta = 0.2 if attack.info.budget == "fixed" else 1.0
    plain = attack(net, x, y, delta=delta)
    traced = trace_attack(net, attack, x, y, delta=delta)
    np.testing.assert_array_equal(traced.result.x, plain.x)
    frame, samples = traced.frame(), traced.valley()
    seen = len(frame) - 2 * len(x) + traced.n_foreign
    clean_passes = round(plain.forwards * len(x)) - seen
    assert 0 <= clean_passes <= 4 * len(x)
    assert seen > 0
    assert (frame.loc[frame["step"] == 1, "distance"] > 0).any()
    assert (frame.groupby("sample")["step"].max() + 1 == samples["n_steps"].to_numpy()).all()
    end = frame.groupby("sample").last()
    for column, values in asked_again(net, plain.x, y).items():
        np.testing.assert_allclose(end[column], values, err_msg=column, **close("net", scale=10))
    np.testing.assert_allclose(end["distance"], plain.distance, rtol=1e-12)
    np.testing.assert_array_equal(samples["success"], plain.success)
    if attack.info.budget == "fixed":
        assert traced.matching_exact
        assert (frame["distance"] <= 2 * delta).all()
    flipped = samples["right_clean"] & samples["flip_step"].notna()
    assert flipped.any() or library == "art"
    np.testing.assert_array_equal(samples["ridge_height"].notna(), flipped)
    assert (samples["ridge_over_bound"][flipped] >= 1 - 1e-9).all()
    assert traced.summary().shape[0] > 5


def ascent_by_hand(weight, bias, x, y, size, delta, steps):
    """Iterates of signed gradient ascent on the cross-entropy of a linear net, the clean point first; NumPy float64."""
    points = [x.astype(np.float64)]
    for _ in range(steps):
        z = points[-1] @ weight.T + bias
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        gradient = (p - np.eye(len(bias))[y]) @ weight
        moved = points[-1] + size * np.sign(gradient)
        points.append(np.clip(np.clip(moved, x - delta, x + delta), 0, 1))
    return points


@pytest.mark.parametrize(
    "name",
    [
        "art_flat:PGD(steps=4, step_size=0.0625, random_start=False)",
        "art:ProjectedGradientDescent(max_iter=4, eps_step=0.0625)",
        "torchattacks:PGD(steps=4, alpha=0.0625, random_start=False)",
        "torchattacks:BIM(steps=4, alpha=0.0625)",
    ],
)
def test_step_t_is_the_point_after_t_updates(linear, name):
    if name.startswith("torchattacks"):
        pytest.importorskip("torchattacks", reason="torchattacks is not installed")
    weight, bias = np.array([[-4.0, 1.0], [4.0, 0.0]]), np.array([2.0, -2.0])
    net = linear(weight.tolist(), bias=bias.tolist())
    x, y = np.array([[0.25, 0.3], [0.375, 0.95]], dtype=np.float32), np.array([0, 0])
    frame = trace_attack(net, name, x, y, delta=0.3).frame()
    expected = ascent_by_hand(weight, bias, x, y, 0.0625, 0.3, 3)
    assert frame["step"].min() == 0
    for step, points in enumerate(expected):
        rows = frame[frame["step"] == step].sort_values("sample")
        z = points @ weight.T + bias
        np.testing.assert_allclose(rows["loss"], np.log(np.exp(z).sum(1)) - z[range(2), y], rtol=1e-5)
        np.testing.assert_allclose(rows["distance"], step * 0.0625, atol=1e-6)


def test_a_sample_that_gradients_do_not_move_keeps_its_steps(wide):
    net, x, y = wide

    def run(problem):
        points = problem.x.clone()
        for step in range(4):
            points[1:] = (problem.x[1:] + 0.05 * step).clamp(0, 1)
            problem.module(points)
        return points

    traced = trace_attack(net, make(run, budget="fixed"), x, y, delta=0.2)
    assert (traced.valley()["n_steps"] == 5).all()  # clean, three updates, the result
    assert (traced.frame().query("sample == 0")["distance"] == 0).all()


@pytest.mark.slow
def test_norms_and_ranges_are_in_clip_units(digits):
    net, x, y = digits

    class Shrunk(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net.estimator.model

        def forward(self, inputs):
            return self.inner(inputs / 255)

    big = af.adapt(as_classifier(Shrunk(), input_shape=(1, 8, 8), nb_classes=10, clip_values=(0.0, 255.0)))
    for name in ("art:ProjectedGradientDescent(max_iter=3)", "art_flat:PGD(steps=3)"):
        small = trace_attack(net, name, x[:6], y[:6], delta=0.2).frame()
        large = trace_attack(big, name, 255 * x[:6], y[:6], delta=51.0).frame()
        np.testing.assert_allclose(large["distance"], 255 * small["distance"], **close("steps", scale=10))
        assert large["distance"].max() > 40
    l2 = trace_attack(net, "art_flat:PGD(steps=3)", x[:6], y[:6], delta=0.5, norm=2)
    assert l2.result.norm == "L2"
    assert 0.4 < l2.frame()["distance"].max() <= 0.5 + 1e-6


def test_nothing_is_left_on_the_model_and_no_pass_is_added(digits):
    net, x, y = digits
    model = net.estimator.model

    def hooks():
        return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]

    before, attack = hooks(), load_attack("art_flat:PGD(steps=4)")
    with net.counting() as plain:
        attack(net, x, y, delta=0.1)
    with net.counting() as traced:
        trace_attack(net, attack, x, y, delta=0.1)
    assert traced.forwards == plain.forwards
    assert traced.backwards == plain.backwards
    assert hooks() == before

    def fail(problem):
        problem.module(problem.x)
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        trace_attack(net, make(fail), x, y, delta=0.1)
    assert hooks() == before


def test_memory_grows_by_numbers_not_by_images(wide):
    from art_flat.analysis._recorder import Recorder

    net, x, y = wide
    inputs, labels = torch.as_tensor(x), torch.as_tensor(y)
    recorder = Recorder(net, inputs, labels, net.outputs(x), "Linf", None, "paper")

    def held():
        return sum(b.numel() for b in recorder._blocks)

    for step in range(1, 40):
        recorder.record_batch(inputs + 0.1, net.outputs(x))
        assert held() == 6 * 12 * (step + 1)
        assert not any(b.requires_grad or b._base is not None for b in recorder._blocks)
    tensors = [v for v in vars(recorder).values() if isinstance(v, torch.Tensor)]
    assert sum(t.numel() for t in tensors) < 12 * 10 + net.head.weight.numel() + 100


def test_a_logistic_regression_is_traced_too(digits):
    from art.estimators.classification import SklearnClassifier
    from sklearn.linear_model import LogisticRegression

    _, x, y = digits
    flat = x.reshape(len(x), -1).astype(np.float64)
    model = LogisticRegression(max_iter=500).fit(flat, y % 2)
    net = af.adapt(SklearnClassifier(model, clip_values=(0, 1)))
    traced = trace_attack(net, "art_flat:PGD(steps=3)", flat, y % 2, delta=0.2)
    end = traced.frame().groupby("sample").last()
    np.testing.assert_allclose(end["kappa"], net.relative_sharpness(traced.result.x), rtol=1e-9)
    np.testing.assert_allclose(traced.valley()["ridge_over_bound"].dropna(), 1, rtol=1e-9)


def test_one_sample_torch_and_estimators(digits):
    net, x, y = digits
    traced = trace_attack(
        net.estimator, "art_flat:PGD(steps=2)", torch.as_tensor(x[:1]), torch.as_tensor(y[:1]), delta=0.1
    )
    assert isinstance(traced.result.x, torch.Tensor)
    assert traced.matching_exact
    assert isinstance(traced.frame(), pd.DataFrame)
    assert "1 sample" in repr(traced)


def test_words_of_errors(digits):
    net, x, y = digits
    with pytest.raises(UnknownNameError, match="paper"):
        trace_attack(net, "art_flat:PGD", x, y, delta=0.1, definition="papper")
    with pytest.raises(ParameterError, match="the radius is `delta`"):
        trace_attack(net, "art_flat:PGD", x, y, eps=0.1)
    traced = trace_attack(net, "art_flat:PGD(steps=1)", x, y, delta=0.1)
    with pytest.raises(InputError, match="cannot plot 'kapa'; choose one of log_kappa, loss"):
        traced.plot("kapa")


def test_plot(digits):
    net, x, y = digits
    figure = trace_attack(net, "art_flat:PGD(steps=3)", x, y, delta=0.1).plot()
    (axes,) = figure.axes
    assert "δ = 0.1" in figure.get_suptitle()
    assert axes.lines[0].get_xdata()[0] == 0
    assert len(axes.lines[0].get_xdata()) == 3 + 3  # clean, random start, three updates, the result
