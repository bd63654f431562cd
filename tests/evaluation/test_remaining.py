"""Steps of a sequence attack the samples that the earlier steps did not fool."""

import numpy as np
import pytest
from sampling import slow

import art_flat as af
from art_flat.attacks import load_attack
from art_flat.errors import InputError

WEAK = "art_flat:GaussianNoise @mine.1"
MIDDLE = "art_flat:PGD(steps=1) @mine.2"
STRONG = "art_flat:APGD(steps=10) @mine.3"


def broken(rows, norm, delta):
    inside = rows[norm.lower()] <= delta
    return set(rows["sample"][(rows["pred_adv"] != rows["label"]) & inside])


def run(digits, attacks, **options):
    net, x, y = digits
    options = {"deltas": {"Linf": [0.04, 0.08]}, "certify": None, "shard_size": 10, **options}
    return af.evaluate(net, x, y, attacks=attacks, **options)


@pytest.mark.parametrize("order", [slow([WEAK, MIDDLE, STRONG]), [STRONG, WEAK, MIDDLE]])
def test_each_place_gets_what_is_left(digits, order):
    rows = run(digits, order).records()
    right = set(rows["sample"][rows["pred_clean"] == rows["label"]])
    for delta in (0.04, 0.08):
        here = rows[rows["delta"] == delta]
        got = {a.rpartition(".")[2]: part for a, part in here.groupby("attack")}
        assert set(got["1"]["sample"]) == set(range(24))
        left = right - broken(got["1"], "Linf", delta)
        assert set(got["2"]["sample"]) == left
        left -= broken(got["2"], "Linf", delta)
        assert left
        assert set(got["3"]["sample"]) == left


def test_what_all_leave_is_the_worst_case_of_the_records(digits):
    results = run(digits, [WEAK, MIDDLE, STRONG])
    table = results.summary().set_index(["attack", "delta"])
    rows = results.records()
    wrong = set(rows["sample"][rows["pred_clean"] != rows["label"]]) | broken(
        rows[rows["delta"] == 0.08], "Linf", 0.2
    )
    wrong |= broken(rows, "Linf", 0.08)
    cell = table.loc[("(worst of all)", 0.08)]
    assert cell["n_evaluated"] == 24
    assert cell["robust_accuracy"] == pytest.approx(1 - len(wrong) / 24)


def test_rows_of_steps_are_what_the_steps_so_far_leave(digits):
    """The last one has the robust accuracy of the sequence; counts and passes are those of the step."""
    results = run(digits, [WEAK, MIDDLE, STRONG, "art_flat:PGD(steps=1)"])
    table, rows = results.summary().set_index(["attack", "delta"]), results.records()
    right = set(rows["sample"][rows["pred_clean"] == rows["label"]])
    for delta in (0.04, 0.08):
        fooled = set()
        for name in (load_attack(a).name for a in (WEAK, MIDDLE, STRONG)):
            made = rows[(rows["attack"] == name) & (rows["delta"] <= delta)]
            fooled |= broken(made, "Linf", delta) & right
            cell = table.loc[(name, delta)]
            assert cell["n_evaluated"] == 24
            assert cell["accuracy"] == len(right) / 24
            assert cell["robust_accuracy"] == pytest.approx((len(right) - len(fooled)) / 24)
            assert cell["seconds"] == pytest.approx(made[made["delta"] == delta]["seconds"].sum())
        assert cell["robust_accuracy"] < table.loc[(load_attack(WEAK).name, delta), "robust_accuracy"]
        assert cell["backwards"] == 10
    alone = table.loc[("art_flat:PGD(steps=1)", 0.04)]
    assert alone["n_evaluated"] == 24


@pytest.mark.slow
def test_a_sequence_does_not_depend_on_shards_others_or_the_way_it_is_resumed(digits, tmp_path):
    whole = run(digits, [WEAK, MIDDLE, STRONG], out=tmp_path / "a", save_adversarial=True)
    with_others = run(digits, [STRONG, "art_flat:PGD(steps=1)", MIDDLE, WEAK])
    keep = whole.adversarial["attack"].isin([load_attack(a).name for a in (WEAK, MIDDLE, STRONG)])
    again = with_others.adversarial[lambda t: t["attack"] != "art_flat:PGD(steps=1)"]
    key = ["attack", "delta", "sample", "loss", "pred"]

    def sort(frame):
        return frame[key].sort_values(key[:3]).astype({"attack": str}).reset_index(drop=True)

    np.testing.assert_array_equal(sort(again).to_numpy(), sort(whole.adversarial[keep]).to_numpy())
    for file in sorted((tmp_path / "a" / "adversarial").glob("*.parquet"))[::2]:
        file.unlink()
    resumed = run(digits, [WEAK, MIDDLE, STRONG], out=tmp_path / "a", save_adversarial=True)
    np.testing.assert_array_equal(sort(resumed.adversarial).to_numpy(), sort(whole.adversarial).to_numpy())
    last = resumed.records()[lambda t: t["attack"] == load_attack(STRONG).name]
    points = resumed.adversarial_points(last)
    net = digits[0]
    np.testing.assert_array_equal(np.asarray(net.predict(points)), last["pred_adv"])


def test_nothing_left_is_no_failure(digits):
    results = run(digits, ["art_flat:APGD(steps=20) @mine.1", STRONG], deltas={"Linf": [0.9]})
    assert set(results.adversarial["attack"]) == {"art_flat:APGD(steps=20) @mine.1"}
    assert results.failures().empty
    assert results.summary()["robust_accuracy"].eq(0).all()


@pytest.mark.slow
def test_a_minimum_norm_attack_in_a_sequence_runs_per_radius(digits):
    pytest.importorskip("torchattacks")
    results = run(digits, ["art_flat:PGD(steps=3) @mine.1", "torchattacks:FAB(steps=5) @mine.2"])
    rows = results.adversarial[lambda t: t["attack"].str.startswith("torchattacks")]
    assert set(rows["delta"]) == {0.04, 0.08}
    assert not [f for f in results.findings() if f.id == "outside-budget"]


def test_a_place_that_cannot_run_leaves_everything_to_the_next(digits):
    pytest.importorskip("torchattacks")
    net, x, y = digits
    few = ["torchattacks:TIFGSM(resize_rate=1.5) @mine.1", STRONG]
    results = af.evaluate(net, x[:6], y[:6], attacks=few, deltas={"Linf": [0.05]}, certify=None)
    rows = results.records()
    assert set(rows["status"][rows["attack"].str.startswith("torchattacks")]) == {"failed"}
    right = rows["pred_clean"] == rows["label"]
    assert set(rows["sample"][~rows["attack"].str.startswith("torchattacks")]) == set(rows["sample"][right])


def test_alone_it_is_the_attack_itself(digits):
    net, x, y = digits
    stage = load_attack("art_flat:PGD(steps=3) @mine.2", restarts=2)
    assert stage.name == "art_flat:PGD(restarts=2, steps=3) @mine.2"
    assert stage.hash != load_attack("art_flat:PGD(restarts=2, steps=3)").hash
    assert "position 2 of the sequence mine" in stage.info.notes[-1]
    plain = load_attack("art_flat:PGD(steps=3)", restarts=2)
    np.testing.assert_array_equal(
        stage(net, x, y, delta=0.1, seed=3).x, plain(net, x, y, delta=0.1, seed=3).x
    )


def test_a_place_that_is_no_place_is_unreadable():
    with pytest.raises(InputError, match="cannot read the attack"):
        load_attack("art_flat:PGD(steps=3) @mine")
