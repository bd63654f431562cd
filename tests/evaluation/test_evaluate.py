"""Records and summaries of small runs, against what the attacks and the model say themselves."""

import functools
import json
import tomllib

import numpy as np
import pandas as pd
import pytest
import torch
from tolerances import close

import art_flat as af
from art_flat.attacks import Attack, AttackInfo
from art_flat.errors import InputError, ParameterError, StoreError, UnknownNameError
from art_flat.evaluation import ALL_ATTACKS
from art_flat.records.schema import ADVERSARIAL, CLEAN, TABLES
from art_flat.records.store import DamagedFileWarning

evaluate = functools.partial(af.evaluate, certify=None)

DELTAS = {"Linf": [0.05, 0.15], "L2": [0.5]}
ATTACKS = ["art_flat:PGD(steps=5)", "art_flat:APGD(steps=5)"]


class Scripted(Attack):
    """An attack that does what its test says."""

    def run(self, problem):
        return self.info.defaults["run"](problem)


def scripted(run, name="test:Scripted", **facts):
    facts = {"norms": ("Linf",), **facts}
    info = AttackInfo(name=name, build=lambda **p: Scripted(info, p), defaults={"run": run}, **facts)
    return info.build()


@pytest.fixture(scope="module")
def run(digits):
    net, x, y = digits
    return evaluate({"cnn": net}, x, y, attacks=ATTACKS, deltas=DELTAS, seed=1)


def test_tables_have_their_columns_and_keys(run):
    for table, columns in TABLES.items():
        assert list(getattr(run, table).columns) == list(columns)
    keys = ["model", "sample", "attack", "attack_hash", "norm", "delta", "seed", "source_model", "target"]
    assert not run.adversarial.duplicated(keys).any()
    assert len(run.adversarial) == 24 * len(ATTACKS) * 3
    assert not run.clean.duplicated(["model", "sample"]).any()


def test_clean_rows_are_what_the_net_says(digits, run):
    net, x, y = digits
    clean = run.clean.sort_values("sample")
    np.testing.assert_allclose(clean["loss"], net.loss(x, y), **close("net"))
    np.testing.assert_array_equal(clean["pred"], net.predict(x))
    np.testing.assert_array_equal(clean["label"], y)
    z = torch.as_tensor(net.logits(x)).double()
    p = torch.softmax(z, 1)
    np.testing.assert_allclose(clean["confidence"], p.amax(1), **close("net"))
    np.testing.assert_allclose(clean["prob_label"], p[range(24), y], **close("net"))
    phi = torch.as_tensor(net.features(x)).double()
    trace = (p * (1 - p)).sum(1) * phi.square().sum(1)
    np.testing.assert_allclose(clean["trace"], trace, **close("net"))
    np.testing.assert_allclose(clean["log_trace"], trace.log(), **close("net", scale=10))
    grad = (p - torch.nn.functional.one_hot(torch.as_tensor(y), 10)) @ net.head.weight.double()
    np.testing.assert_allclose(clean["feature_grad_norm"], grad.norm(dim=1), **close("net"))


def test_records_join_and_definitions(digits, run):
    net, x, _ = digits
    for definition in ("paper", "neuronwise", "unsquared"):
        records = run.records(definition)
        assert records.attrs["definition"] == definition
        assert set(records["definition"]) == {definition}
        assert len(records) == len(run.adversarial)
        expected = np.asarray(net.relative_sharpness(x, definition=definition))
        np.testing.assert_allclose(records["kappa_clean"], expected[records["sample"]], **close("gradient"))
        np.testing.assert_allclose(np.log(records["kappa_adv"]), records["log_kappa_adv"], rtol=1e-9)
    assert {
        f"{c}_{side}"
        for c in CLEAN
        if c in ADVERSARIAL and c not in ("model", "sample")
        for side in ("clean", "adv")
    } <= set(records.columns)
    np.testing.assert_allclose(records["loss_change"], records["loss_adv"] - records["loss_clean"])
    with pytest.raises(UnknownNameError, match="did you mean 'neuronwise'"):
        run.records("neuronwize")


def brute_force_summary(results, model, attack, norm, delta, epsilon):
    """The scores of one cell, one sample at a time, from the records."""
    records = results.records()
    records = records[records["model"] == model]
    if attack != ALL_ATTACKS:
        records = records[records["attack"] == attack]
    weights, right, robust, small = [], [], [], []
    for _, rows in records.groupby("sample"):
        own = rows[(rows["norm"] == norm) & ((rows["delta"] == delta) | rows["delta"].isna())]
        if own["loss_change"].notna().sum() == 0:
            continue
        inside = rows[(rows[norm.lower()] <= delta) & rows["loss_change"].notna()]
        is_right = rows["pred_clean"].iloc[0] == rows["label"].iloc[0]
        weights.append(rows["weight"].iloc[0])
        right.append(is_right)
        robust.append(is_right and (inside["pred_adv"] == inside["label"]).all())
        small.append((inside["loss_change"] <= epsilon).all())

    def average(values):
        return np.average(np.array(values, float), weights=weights)

    return {
        "n_evaluated": len(weights),
        "accuracy": average(right),
        "robust_accuracy": average(robust),
        f"loss_change_robustness@{epsilon:g}": average(small),
    }


def test_summary_against_brute_force(digits):
    net, x, y = digits
    weight = np.linspace(0.5, 2, len(x))
    attacks = [*ATTACKS, scripted(lambda p: p.x + 0.04 * torch.sign(p.x - 0.5), budget="minimum-norm")]
    results = evaluate(net, x, y, attacks=attacks, deltas=DELTAS, weight=weight)
    summary = results.summary(epsilons=[0.2])
    assert len(summary) == 2 * 3 + 2 + 3
    for row in summary.to_dict("records"):
        expected = brute_force_summary(results, "model", row["attack"], row["norm"], row["delta"], 0.2)
        assert {k: row[k] for k in expected} == pytest.approx(expected)


def test_flatness_columns_against_the_scores(run):
    from art_flat.scores import flat_adversarial_fraction, flatness_ratio

    row = (
        run.summary().query("attack == 'art_flat:PGD(steps=5)' and norm == 'Linf' and delta == 0.15").iloc[0]
    )
    records = run.records().query("attack == 'art_flat:PGD(steps=5)' and norm == 'Linf' and delta == 0.15")
    fooled = records[(records["pred_clean"] == records["label"]) & (records["pred_adv"] != records["label"])]
    assert row["n_adversarial"] == len(fooled) > 3
    before, after = fooled["log_kappa_clean"].to_numpy(), fooled["log_kappa_adv"].to_numpy()
    assert row["flatness_ratio"] == pytest.approx(flatness_ratio(before, after))
    assert row["flat_fraction"] == pytest.approx(flat_adversarial_fraction(before, after))
    sure = (records["pred_adv"] != records["label"]) & (records["confidence_adv"] >= 0.9)
    assert row["confidently_wrong_fraction"] == pytest.approx(sure.mean())


def test_a_larger_delta_never_looks_safer(digits):
    """An attack that only works at small δ is still counted at larger ones."""
    net, x, y = digits
    strong = af.load_attack("art_flat:APGD(steps=10)")
    found = strong(net, x, y, delta=0.1)

    def shy(problem):
        return torch.as_tensor(found.x) if problem.delta == 0.1 else problem.x

    summary = evaluate(net, x, y, attacks=scripted(shy), deltas=[0.1, 0.3]).summary(epsilons=[0.1])
    assert summary["robust_accuracy"].iloc[0] < summary["accuracy"].iloc[0]
    assert summary["robust_accuracy"].iloc[1] == summary["robust_accuracy"].iloc[0]
    assert summary["loss_change_robustness@0.1"].nunique() == 1


def test_points_of_one_norm_count_in_another(digits):
    net, x, y = digits
    found = af.load_attack("art_flat:APGD(steps=10)")(net, x, y, delta=0.2, norm="Linf")
    lucky = scripted(
        lambda p: torch.as_tensor(found.x), norms=("L2",), budget="minimum-norm", name="test:Lucky"
    )
    lazy = scripted(lambda p: p.x, name="test:Lazy")
    summary = evaluate(net, x, y, attacks=[lucky, lazy], deltas={"Linf": [0.2], "L2": [0.01]}).summary()
    per_norm = summary[summary["attack"] == ALL_ATTACKS].set_index("norm")["robust_accuracy"]
    assert per_norm.get("Linf", summary.set_index("attack").loc["test:Lazy", "accuracy"]) <= 1
    alone = summary.query("attack == 'test:Lazy'").iloc[0]
    assert alone["robust_accuracy"] == alone["accuracy"]
    assert per_norm["Linf"] == pytest.approx(1 - (np.asarray(found.success) | (net.predict(x) != y)).mean())


def test_failed_and_skipped_units_never_count_as_robust(digits):
    net, x, y = digits

    def explode(problem):
        raise ZeroDivisionError("<b>kaboom</b>")

    class Picky(Scripted):
        def check(self, net, norm):
            from art_flat.attacks.base import AttackNotUsableError

            raise AttackNotUsableError("needs four classes")

    info = AttackInfo(
        name="test:Picky", build=lambda **p: Picky(info, p), norms=("Linf",), defaults={"run": None}
    )
    bomb = scripted(explode, name="test:Bomb")
    results = evaluate(net, x, y, attacks=[bomb, info.build(), *ATTACKS], deltas=DELTAS)
    summary = results.summary().set_index(["attack", "norm", "delta"])
    assert summary.loc[("test:Bomb", "Linf", 0.05), "n_evaluated"] == 0
    assert summary.loc[("test:Bomb", "Linf", 0.05), "n_failed"] == 24
    assert np.isnan(summary.loc[("test:Bomb", "Linf", 0.05), "robust_accuracy"])
    assert summary.loc[("test:Picky", "Linf", 0.15), "n_skipped"] == 24
    assert summary.loc[(ALL_ATTACKS, "Linf", 0.05), "n_evaluated"] == 24
    failures = results.failures()
    assert set(failures["error"]) == {"ZeroDivisionError: <b>kaboom</b>", "needs four classes"}
    assert failures["n"].sum() == 4 * 24


def test_nan_losses_are_not_robust(linear):
    import art_flat.models as models

    class Fragile(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(4, 2)

        def forward(self, x):
            return self.head(torch.where(x > 0.999, torch.nan, x))

    torch.manual_seed(0)
    net = af.adapt(models.as_classifier(Fragile(), input_shape=(4,), nb_classes=2))
    x = np.full((6, 4), 0.5, np.float32)
    y = np.asarray(net.predict(x))
    attack = scripted(lambda p: torch.where((torch.arange(6) < 2)[:, None], torch.ones_like(p.x), p.x))
    results = evaluate(net, x, y, attacks=attack, deltas=[0.6])
    assert results.summary().loc[0, ["n_evaluated", "n_failed", "n_unfinished"]].tolist() == [6, 2, 0]
    assert results.summary().loc[0, "robust_accuracy"] == pytest.approx(4 / 6)
    assert results.adversarial["loss"].isna().sum() == 2


def test_transfer_rows(digits, linear):
    net, x, y = digits
    torch.manual_seed(0)
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    from art_flat.models import as_classifier
    from art_flat.training import train

    data = af.load_dataset("digits", split="train")
    train(other, data.x, data.y, epochs=3)
    second = af.adapt(as_classifier(other, input_shape=(1, 8, 8), nb_classes=10))
    results = evaluate(
        {"cnn": net, "linear": second},
        x,
        y,
        attacks=ATTACKS[:1],
        deltas={"Linf": [0.15]},
        transfer=True,
    )
    adv = results.adversarial
    assert set(zip(adv["model"], adv["source_model"], strict=True)) == {
        (a, b) for a in ("cnn", "linear") for b in ("cnn", "linear")
    }
    own = adv.query("model == 'linear' and source_model == 'linear'")["loss"].mean()
    moved = adv.query("model == 'linear' and source_model == 'cnn'")["loss"].mean()
    assert own > moved


# the folder


@pytest.mark.slow
def test_folder_round_trip(digits, tmp_path):
    net, x, y = digits
    out = tmp_path / "run"
    results = evaluate(net, x, y, attacks=ATTACKS, deltas=DELTAS, out=out, shard_size=10, certify="lipschitz")
    tables = {"models.parquet", "clean", "certified", "adversarial"}
    assert {p.name for p in out.iterdir()} == tables | {
        "checksums",
        "config.toml",
        "manifest.json",
        "summary.csv",
        "fingerprints.safetensors",
    }
    assert len(list((out / "adversarial").iterdir())) == 2 * 3 * 3
    loaded = af.Results.load(out)
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(loaded, table), getattr(results, table), check_dtype=False)
    pd.testing.assert_frame_equal(loaded.summary(), results.summary())
    facts = json.loads((out / "manifest.json").read_text())
    assert facts["packages"]["torch"]
    assert facts["seed"] == 0
    assert tomllib.loads((out / "config.toml").read_text())["attacks"] == ATTACKS
    pd.testing.assert_frame_equal(pd.read_csv(out / "summary.csv"), results.summary(), check_dtype=False)
    loaded.save(tmp_path / "copy")
    pd.testing.assert_frame_equal(af.Results.load(tmp_path / "copy").summary(), results.summary())


def test_resume_computes_only_what_is_missing(digits, tmp_path):
    net, x, y = digits
    calls = []

    def counted(problem):
        calls.append(problem.delta)
        return problem.x + 0.01 * torch.rand_like(problem.x)

    options = {"attacks": scripted(counted), "deltas": [0.05, 0.1], "out": tmp_path / "run", "shard_size": 12}
    first = evaluate(net, x, y, **options)
    assert len(calls) == 4
    evaluate(net, x, y, **options)
    assert len(calls) == 4
    units = sorted((tmp_path / "run" / "adversarial").iterdir())
    units[0].write_bytes(units[0].read_bytes()[:100])
    units[1].unlink()
    with pytest.warns(DamagedFileWarning, match="it is damaged"):
        again = evaluate(net, x, y, **options)
    assert len(calls) == 6
    columns = [c for c in first.adversarial if c != "seconds"]
    pd.testing.assert_frame_equal(first.adversarial[columns], again.adversarial[columns], check_dtype=False)


def test_failed_units_are_tried_again(digits, tmp_path):
    net, x, y = digits
    mood = ["bad"]

    def moody(problem):
        if mood:
            raise OSError("try later")
        return problem.x

    options = {"attacks": scripted(moody), "deltas": [0.1], "out": tmp_path / "run"}
    assert len(evaluate(net, x, y, **options).failures()) == 1
    mood.clear()
    assert evaluate(net, x, y, **options).failures().empty


def test_another_configuration_is_refused(digits, tmp_path):
    net, x, y = digits
    options = {"attacks": ATTACKS[:1], "deltas": {"Linf": [0.1]}, "out": tmp_path / "run"}
    evaluate(net, x, y, **options)
    with pytest.raises(
        StoreError, match=r"a different configuration:\n  deltas.Linf: \[0.1\] there, \[0.2\] now"
    ):
        evaluate(net, x, y, **{**options, "deltas": {"Linf": [0.2]}})
    with pytest.raises(StoreError, match=r"data.hash"):
        evaluate(net, x[:5], y[:5], **options)
    evaluate(net, x, y, **options, epsilons=[0.7])  # ε decides nothing that is computed


def test_foreign_folders_are_left_alone(digits, tmp_path):
    net, x, y = digits
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not empty and holds no art_flat results"):
        evaluate(net, x, y, attacks=ATTACKS, deltas=DELTAS, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]
    with pytest.raises(StoreError, match="holds no art_flat results"):
        af.Results.load(tmp_path)


# properties


@pytest.mark.slow
def test_order_of_attacks_and_shards_do_not_change_records(digits):
    net, x, y = digits
    columns = [c for c in ADVERSARIAL if c != "seconds"]
    one = evaluate(net, x, y, attacks=ATTACKS, deltas=DELTAS).adversarial[columns]
    two = evaluate(net, x, y, attacks=ATTACKS[::-1], deltas=DELTAS).adversarial[columns]
    keys = ["attack", "norm", "delta", "sample"]
    pd.testing.assert_frame_equal(
        one.sort_values(keys, ignore_index=True), two.sort_values(keys, ignore_index=True)
    )


def test_torch_and_one_hot_give_the_same_records(digits):
    net, x, y = digits
    columns = [c for c in ADVERSARIAL if c != "seconds"]
    one = evaluate(net, x, y, attacks=ATTACKS[:1], deltas={"Linf": [0.1]}).adversarial[columns]
    two = evaluate(
        net,
        torch.from_numpy(x),
        torch.nn.functional.one_hot(torch.from_numpy(y), 10),
        attacks=ATTACKS[:1],
        deltas={"Linf": [0.1]},
    ).adversarial[columns]
    pd.testing.assert_frame_equal(one, two)


def test_progress_is_told(digits):
    net, x, y = digits
    seen = []
    evaluate(net, x, y, attacks=ATTACKS[:1], deltas={"Linf": [0.1, 0.2]}, progress=seen.append)
    assert {(p.total, p.failed) for p in seen} == {(2, 0)}
    told = [(p.done, p.current and p.current.delta, p.unit and p.unit.delta) for p in seen if not p.note]
    assert told == [(0, None, None), (0, 0.1, None), (1, None, 0.1), (1, 0.2, None), (2, None, 0.2)]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"deltas": [0.1]},
            InputError,
            r'names no norm, .* several \(Linf, L2\); .*deltas=\{"Linf": \[0.1\]\}',
        ),
        ({"deltas": 0.1}, InputError, r'deltas=\{"Linf": \[0.1\]\}'),
        ({"delta": 0.1}, ParameterError, "has no parameter 'delta'; did you mean 'deltas'"),
        ({"attack": "fast"}, ParameterError, "has no parameter 'attack'; did you mean 'attacks'"),
        (
            {"norm": "Linf"},
            ParameterError,
            "has no parameter 'norm'; its parameters are models, x, y, deltas, ",
        ),
        ({"deltas": {"Linf": []}}, InputError, "has no radius"),
        ({"deltas": {"Linf": [-1]}}, InputError, "must be greater than 0"),
        ({"deltas": {"Lx": [1]}}, UnknownNameError, "unknown norm 'Lx'"),
        ({"deltas": {"L0": [1]}}, InputError, "none of the attacks supports a norm"),
        ({"attacks": "fats"}, UnknownNameError, "unknown suite or attack 'fats'"),
        ({"epsilons": [-1]}, InputError, "`epsilon` must be at least 0"),
        ({"shard_size": 0}, InputError, "`shard_size`"),
        ({"samples": [1, 1]}, InputError, "different whole numbers"),
        ({"weight": np.zeros(24)}, InputError, "not all 0"),
        ({"eps": 3}, ParameterError, "the radius is `delta`"),
    ],
)
def test_bad_arguments(digits, change, error, words):
    net, x, y = digits
    with pytest.raises(error, match=words):
        evaluate(net, x, y, **{"attacks": ATTACKS, "deltas": DELTAS, **change})


def test_no_model():
    with pytest.raises(InputError, match="no model was given"):
        evaluate({}, np.zeros((1, 2)), [0], deltas=[0.1])
