"""RobustBench's files: their fields, and the numbers in them, counted again from the records."""

import json

import numpy as np
import pytest

import art_flat as af
from art_flat.attacks import load_suite

FIELDS = [
    "link",
    "name",
    "authors",
    "additional_data",
    "number_forward_passes",
    "dataset",
    "venue",
    "architecture",
]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def written(run, tmp_path):
    info = {"cnn": {"dataset": "digits", "architecture": "CNN", "additional_data": False}}
    return run.to_robustbench(tmp_path / "model_info", info), tmp_path / "model_info"


def test_one_file_per_model_norm_and_radius(written):
    files, folder = written
    assert sorted(str(f.relative_to(folder)) for f in files) == [
        "digits/L2/cnn.json",
        "digits/Linf/cnn_0.1.json",
        "digits/Linf/cnn_51_255.json",
    ]
    assert {f for f in folder.rglob("*") if f.is_file()} == set(files)
    assert [read(f)["eps"] for f in sorted(files)] == ["0.5", "0.1", "51/255"]


def test_numbers_are_those_of_the_records(run, written):
    records = run.records()
    for path in written[0]:
        entry = read(path)
        own = entry["art_flat"]
        inside = records[records[own["norm"].lower()] <= own["delta"]]
        right = run.clean.set_index("sample").eval("pred == label")
        broken = inside[inside["pred_adv"] != inside["label"]]["sample"].unique()
        assert float(entry["clean_acc"]) == pytest.approx(100 * right.mean(), abs=0.005)
        robust = right & ~right.index.isin(broken)
        assert float(entry["reported"]) == pytest.approx(100 * robust.mean(), abs=0.005)
        assert own["robust_acc"] == pytest.approx(robust.mean())
        worst = inside.groupby("sample")["loss_change"].max().clip(lower=0)
        for epsilon, share in own["loss_change_robustness"].items():
            assert share == pytest.approx((worst <= float(epsilon)).mean())
            assert own["certified_loss_change_robustness"][epsilon] <= share


def test_what_was_not_measured_is_absent_and_said(written):
    for path in written[0]:
        entry = read(path)
        assert "autoattack_acc" not in entry
        assert "external" not in entry
        assert "suite `standard`" in entry["art_flat"]["missing"]["autoattack_acc"]
        assert list(entry)[:8] == FIELDS
        assert (entry["architecture"], entry["additional_data"], entry["link"]) == ("CNN", False, None)


def test_the_users_fields_win_and_measured_ones_are_refused(run, tmp_path):
    path = run.to_robustbench(tmp_path, {"cnn": {"reported": "61.2", "footnote": "ours"}})[0]
    assert (read(path)["reported"], read(path)["footnote"]) == ("61.2", "ours")
    assert read(path)["art_flat"]["reported_by"] == "the user"
    for info, words in [
        ({"cnn": {"clean_acc": "99"}}, "read from the records"),
        ({"cnn": {"archtecture": "x"}}, "did you mean 'architecture'"),
        ({"cmn": {}}, "'cnn'"),
        ({"cnn": {"dataset": "../up"}}, "names a folder"),
    ]:
        with pytest.raises(ValueError, match=words):
            run.to_robustbench(tmp_path / "other", info)
    assert not (tmp_path / "other").exists()


def test_foreign_files_are_left_alone_and_own_ones_replaced(run, tmp_path):
    foreign = tmp_path / "L2" / "cnn.json"
    foreign.parent.mkdir()
    foreign.write_text('{"name": "theirs"}')
    with pytest.raises(ValueError, match="not written by art_flat"):
        run.to_robustbench(tmp_path)
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == [foreign]
    foreign.unlink()
    assert run.to_robustbench(tmp_path) == run.to_robustbench(tmp_path)


def test_autoattack_counts_its_own_attacks_and_only_when_complete(digits, tmp_path):
    """Four quick attacks recorded under the names of the suite `standard`, whose numbers are counted in a moment."""
    net, x, y = digits
    quick = [f"art_flat:PGD(steps={n}) @standard.{n}" for n in range(1, 5)]
    four = [attack.name for attack in load_suite("standard")][:4]
    wrong = np.array(y)
    wrong[0] = (wrong[0] + 1) % 10  # misclassified before the attack
    attacks = [*quick, "art_flat:APGD(steps=20)"]
    results = af.evaluate(net, x, wrong, attacks=attacks, deltas={"Linf": [0.05, 0.1]}, certify=None)
    names = dict(zip(quick, four, strict=True))
    results.adversarial["attack"] = results.adversarial["attack"].replace(names)
    for fact in results.facts["attacks"]:
        fact["name"] = names.get(fact["name"], fact["name"])
    for path in results.to_robustbench(tmp_path / "all"):
        entry = read(path)
        delta = entry["art_flat"]["delta"]
        adv = results.adversarial.merge(results.clean[["sample", "label"]], on="sample")
        adv = adv[(adv["pred"] != adv["label"]) & (adv["linf"] <= delta) & (adv["delta"] == delta)]
        broken = adv[adv["attack"].isin(four)]["sample"]
        robust = 1 - len({0, *broken}) / len(x)
        assert 0 < len({*broken}) < len(x)
        assert float(entry["autoattack_acc"]) == pytest.approx(100 * robust, abs=0.005)
        assert float(entry["reported"]) <= float(entry["autoattack_acc"])
        assert entry["art_flat"]["missing"] == {}
    results.adversarial.loc[results.adversarial["attack"] == four[1], "status"] = "failed"
    for path in results.to_robustbench(tmp_path / "failed"):
        assert "autoattack_acc" not in read(path)
        assert "failed" in read(path)["art_flat"]["missing"]["autoattack_acc"]
