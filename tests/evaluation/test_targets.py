"""Targeted runs: targets, successes and losses against plain torch; and what the tables say of them."""

import tomllib

import numpy as np
import pytest
import torch
from run_cases import N, same
from run_cases import small_run as tiny_run
from torch import nn
from typer.testing import CliRunner

import art_flat as af
from art_flat.attacks import as_attack
from art_flat.cli.app import app as cli
from art_flat.cli.config import read_config
from art_flat.cli.run import prepare
from art_flat.errors import ConfigError, InputError, StoreError, UnknownNameError
from art_flat.evaluation.targets import least_likely
from art_flat.models import as_classifier

STEPS, DELTA = 4, 0.3


def network():
    """A random net that predicts all of its three classes on the data."""
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng():
        net = nn.Sequential(nn.Flatten(), nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    x = torch.rand(N, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        net[-1].bias -= net(x).mean(dim=0)
    return net.eval()


def classifier():
    return as_classifier(network(), input_shape=(6,), nb_classes=3)


def small_run(**changes):
    run = tiny_run()
    net = af.adapt(classifier())
    y = np.asarray(net.predict(run["x"]))
    y[::5] = (y[::5] + 1) % 3
    return {**run, "models": {"tiny": net}, "y": y, **changes}


def logits_of(x):
    with torch.no_grad():
        return network()(torch.as_tensor(x))


def descent(module, x, y, *, delta, norm, target):
    """Signed descent on the cross-entropy at the target class."""
    start = x
    for _ in range(STEPS):
        x = x.detach().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(module(x), target, reduction="sum")
        (grad,) = torch.autograd.grad(loss, x)
        x = (start + (x - delta / 3 * grad.sign() - start).clamp(-delta, delta)).clamp(0, 1)
    return x.detach()


def own():
    return as_attack(descent, name="descent", norms=["Linf"], budget="fixed", targeted=True)


def expected_targets(rule, x, y):
    """One sample at a time."""
    if rule == "next":
        return [(int(label) + 1) % 3 for label in y]
    rows = logits_of(x).tolist()
    return [
        min((c for c in range(3) if c != label), key=row.__getitem__)
        for row, label in zip(rows, y, strict=True)
    ]


def targeted_run(target, **changes):
    return small_run(
        **{
            "attacks": [own(), "art_flat:PGD(steps=3)"],
            "deltas": {"Linf": [DELTA]},
            "target": target,
            **changes,
        }
    )


@pytest.fixture(scope="module", params=["least-likely", "next", "given"])
def targeted(request):
    """A targeted run, its arguments and the targets worked out by hand."""
    run = targeted_run(None)
    if request.param == "given":
        target = (run["y"] + np.random.default_rng(0).integers(1, 3, N)) % 3
        expected = target.tolist()
    else:
        target, expected = request.param, expected_targets(request.param, run["x"], run["y"])
    run["target"] = target
    return af.evaluate(**run), run, np.array(expected), request.param


def test_records_hold_targets_and_the_points_of_plain_torch(targeted):
    results, run, target, _ = targeted
    rows = results.adversarial[results.adversarial["attack"] == "own:descent"].sort_values("sample")
    assert rows["target"].tolist() == target.tolist()
    x, y = torch.as_tensor(run["x"]), torch.as_tensor(run["y"])
    points = descent(network(), x, y, delta=DELTA, norm="Linf", target=torch.as_tensor(target))
    logits = logits_of(points).double()
    np.testing.assert_array_equal(rows["pred"], logits.argmax(dim=1))
    losses = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    np.testing.assert_allclose(rows["loss"], losses, rtol=1e-4, atol=1e-5)  # ℓ at the true label


def test_success_is_a_prediction_of_the_target(targeted):
    results, _, target, rule = targeted
    summary = results.summary().set_index("attack")
    rows = results.records()
    for attack in ("own:descent", "art_flat:PGD(steps=3)"):
        part = rows[rows["attack"] == attack]
        hit = part[(part["pred_adv"] == target[part["sample"]]) & (part["linf"] <= DELTA)]
        assert 0 < (hit["pred_clean"] != hit["target"]).sum() < N
        assert summary.loc[attack, "target_success"] == pytest.approx(len(hit) / N)
        wrong = set(part[part["pred_adv"] != part["label"]]["sample"]) | set(
            part[part["pred_clean"] != part["label"]]["sample"]
        )
        assert summary.loc[attack, "robust_accuracy"] == pytest.approx(1 - len(wrong) / N)
    assert not summary["maximises_loss"].any()
    assert results.facts["target"] == rule


def test_the_own_maximiser_raises_the_probability_of_the_target(targeted):
    _, run, target, _ = targeted
    net, kept = af.adapt(classifier()), {}
    for name, aim in (("towards", target), ("away", None)):
        points = af.load_attack("art_flat:PGD(steps=3)")(
            net, run["x"], run["y"], delta=DELTA, norm="Linf", target=aim
        ).x
        kept[name] = torch.softmax(logits_of(points), dim=1)[torch.arange(N), torch.as_tensor(target)]
    clean = torch.softmax(logits_of(run["x"]), dim=1)[torch.arange(N), torch.as_tensor(target)]
    assert (kept["towards"] >= clean - 1e-6).all()
    assert kept["towards"].mean() > kept["away"].mean()


def test_tables_and_report_say_that_the_run_is_targeted(targeted, tmp_path):
    results, _, _, _ = targeted
    text = results.to_markdown()
    assert "target reached" in text
    assert "targeted run" in text
    page = results.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Targeted run: attacks push each sample towards" in page
    assert "reach their target class" in page
    (path,) = results.to_robustbench(tmp_path / "rb")
    assert '"reported": "the run is targeted' in path.read_text(encoding="utf-8")


def test_untargeted_runs_stay_as_they_are(tmp_path):
    before = small_run()
    results = af.evaluate(**before, out=tmp_path)
    assert results.adversarial["target"].isna().all()
    assert results.summary()["target_success"].isna().all()
    assert "target" not in (tmp_path / "config.toml").read_text(encoding="utf-8")
    assert "target reached" not in results.to_markdown()
    keys = set(results.adversarial["unit"])
    aimed = af.evaluate(**small_run(target="next"))
    assert not keys & set(aimed.adversarial["unit"])
    with pytest.raises(StoreError, match="target: None there, 'next' now"):
        af.evaluate(**small_run(target="next"), out=tmp_path)


def test_keys_depend_on_the_targets_of_their_own_shard():
    run = targeted_run(None, attacks=["art_flat:PGD(steps=3)"])
    target = (run["y"] + 1) % 3
    other = target.copy()
    other[0] = (run["y"][0] + 2) % 3
    one, two = (set(af.evaluate(**{**run, "target": t}).adversarial["unit"]) for t in (target, other))
    assert len(one - two) == 1
    assert len(one & two) == N // 6 - 1


def test_attacks_that_cannot_aim_are_skipped_with_the_reason():
    results = af.evaluate(**small_run(target="next"))
    failures = results.failures().set_index("attack")
    assert (failures["status"] == "skipped").all()
    assert failures.loc["art_flat:GaussianNoise", "error"].tolist()
    assert "does not take a target class" in failures.loc["art_flat:GaussianNoise", "error"].iloc[0]
    assert "art_flat:PGD(steps=3)" not in failures.index


def test_a_sequence_goes_on_until_the_target_is_reached():
    first, second = "art_flat:PGD(steps=1) @mine.1", "art_flat:PGD(steps=5) @mine.2"
    results = af.evaluate(**targeted_run("next", attacks=[first, second]))
    rows = results.records()
    target = rows["target"].to_numpy(int)
    open_ = rows[(rows["attack"] == first) & (rows["pred_adv"] != target) & (rows["pred_clean"] != target)]
    assert 0 < len(open_) < N
    assert (open_["pred_adv"] != open_["label"]).any()  # wrong, but not the target: attacked again
    assert set(rows[rows["attack"] == second]["sample"]) == set(open_["sample"])


def test_points_found_on_another_model_keep_their_targets():
    nets = {"one": classifier(), "two": classifier()}
    with torch.no_grad():
        nets["two"].model[-1].weight.neg_()
    run = {
        **targeted_run("least-likely", attacks=["art_flat:PGD(steps=3)"]),
        "models": nets,
        "transfer": True,
    }
    rows = af.evaluate(**run).adversarial
    aims = rows.pivot(index=["source_model", "sample"], columns="model", values="target")
    assert (aims["one"] == aims["two"]).all()
    assert (aims.loc["one"] != aims.loc["two"]).to_numpy().any()


@pytest.mark.slow
def test_the_workers_make_the_same_records(tmp_path):
    run = targeted_run("least-likely", attacks=["art_flat:PGD(steps=3)"])
    same(af.evaluate(**run), af.evaluate(**run, n_jobs=2, out=tmp_path))


def test_least_likely_ignores_the_label_and_nan():
    logits = torch.tensor([[3.0, 1.0, 2.0], [float("nan"), 1.0, 2.0], [1.0, 1.0, 1.0]])
    assert least_likely(logits, torch.tensor([1, 1, 0])).tolist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("least", UnknownNameError, "unknown target 'least': did you mean 'least-likely'"),
        (np.zeros(3, int), InputError, "`target` has 3 labels for 24 samples"),
        (np.full(N, 3), InputError, "target"),
        ("label", UnknownNameError, "unknown target"),
        (1, InputError, "`target` is a single number"),
    ],
)
def test_unusable_targets(target, error, message):
    with pytest.raises(error, match=message):
        af.evaluate(**small_run(target=target))


def test_a_target_is_not_the_label():
    run = small_run()
    with pytest.raises(InputError, match=f"`target` is the true label of {N} of {N} samples"):
        af.evaluate(**{**run, "target": run["y"]})


CONFIG = """
deltas = { Linf = [0.1] }
target = "least-likely"
[models.m]
factory = "art_flat.models:digits_cnn"
[data]
name = "digits"
n = 4
"""


@pytest.mark.slow
def test_configuration_and_command_line_take_a_target(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG, encoding="utf-8")
    config, folder = read_config(path)
    assert config.target == prepare(config, folder)[2]["target"] == "least-likely"
    path.write_text(CONFIG.replace('"least-likely"', "[1, 2, 3, 4]"), encoding="utf-8")
    assert read_config(path)[0].target == [1, 2, 3, 4]
    path.write_text('attacks = ["art_flat:UniformNoise"]\n' + CONFIG, encoding="utf-8")
    for arguments, target in (([], "least-likely"), (["--target", "next"], "next")):
        out = tmp_path / target
        answer = CliRunner().invoke(cli, ["run", str(path), "--out", str(out), *arguments])
        assert answer.exit_code == 0, answer.output
        assert tomllib.loads((out / "config.toml").read_text(encoding="utf-8"))["target"] == target
    with pytest.raises(ConfigError, match="target"):
        read_config(path, target="sideways")
