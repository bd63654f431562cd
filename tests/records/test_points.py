"""The points that a run keeps: they are those that its records measure."""

import numpy as np
import pytest
import torch
from sampling import slow
from tolerances import close

import art_flat as af
from art_flat._utils.streaming import InputRows
from art_flat.errors import StoreError
from art_flat.records.files import TensorPieces, parse_tensors

DELTAS = {"Linf": [0.05, 0.15], "L2": [0.5]}


@pytest.fixture(params=["memory", slow("folder"), slow("loaded"), slow("saved")])
def results(request, digits, tmp_path):
    net, x, y = digits
    options = {
        "attacks": "art_flat:PGD(steps=5)",
        "deltas": DELTAS,
        "shard_size": 10,
        "save_adversarial": True,
        "certify": None,
    }
    samples = np.arange(100, 124)[::-1]
    if request.param != "memory":
        options["out"] = tmp_path / "run"
    results = af.evaluate(net, x, y, samples=samples, **options)
    if request.param == "loaded":
        return af.Results.load(tmp_path / "run")
    if request.param == "saved":
        results.save(tmp_path / "copy")
        return af.Results.load(tmp_path / "copy")
    return results


def test_scores_can_be_computed_again_from_the_points(digits, results):
    net, x, _ = digits
    assert results.has_points
    records = results.records().sample(frac=1, random_state=0)
    clean, adv = results.clean_points(records["sample"]), results.adversarial_points(records)
    np.testing.assert_array_equal(clean, x[123 - records["sample"]])
    assert adv.shape == (len(records), 1, 8, 8)
    np.testing.assert_allclose(
        net.loss(adv, records["label"].to_numpy(int)), records["loss_adv"], **close("net")
    )
    shift = (adv.astype(float) - clean).reshape(len(adv), -1)
    np.testing.assert_allclose(np.abs(shift).max(1), records["linf"], rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(shift, axis=1), records["l2"], rtol=1e-12)
    assert (records["linf"] > 0).all()


@pytest.mark.slow
def test_folders_of_runs_say_where_they_are(digits, tmp_path):
    net, x, y = digits
    options = {"attacks": "art_flat:PGD(steps=2)", "deltas": {"Linf": [0.1]}}
    assert af.evaluate(net, x, y, **options).folder is None
    assert af.evaluate(net, x, y, out=tmp_path / "run", **options).folder == tmp_path / "run"
    assert af.Results.load(tmp_path / "run").folder == tmp_path / "run"


@pytest.mark.slow
def test_points_that_were_not_kept(digits, tmp_path):
    net, x, y = digits
    options = {"attacks": "art_flat:PGD(steps=2)", "deltas": {"Linf": [0.1]}, "out": tmp_path / "run"}
    results = af.evaluate(net, x, y, **options)
    assert not results.has_points
    for ask in (lambda: results.clean_points([0]), lambda: results.adversarial_points(results.adversarial)):
        with pytest.raises(StoreError, match="not saved; run again with save_adversarial=True"):
            ask()
    again = af.evaluate(
        net, x, y, **options, save_adversarial=True
    )  # computes the units again, for their points
    assert again.adversarial_points(again.adversarial).shape == x.shape
    with pytest.raises(StoreError, match="for sample 77"):
        again.clean_points([0, 77])
    with pytest.raises(StoreError, match="no rows"):
        again.adversarial_points(again.adversarial[:0])


def test_units_that_failed_have_no_points(digits):
    from art_flat.attacks import as_attack

    net, x, y = digits

    def explode(module, x, y):
        raise ZeroDivisionError

    results = af.evaluate(
        net, x, y, attacks=[as_attack(explode)], deltas={"Linf": [0.1]}, certify=None, save_adversarial=True
    )
    with pytest.raises(StoreError, match="it may have failed"):
        results.adversarial_points(results.adversarial)


@pytest.mark.slow
def test_damaged_files_and_names_that_lead_out_of_the_folder(digits, tmp_path):
    net, x, y = digits
    options = {"attacks": "art_flat:PGD(steps=2)", "deltas": {"Linf": [0.1]}, "save_adversarial": True}
    results = af.evaluate(net, x, y, out=tmp_path / "run", **options)
    file = tmp_path / "run" / "points" / f"{results.adversarial['unit'].iloc[0]}.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(StoreError, match=r"cannot read .*safetensors"):
        results.adversarial_points(results.adversarial)
    rows = results.adversarial.assign(unit="../../etc/passwd")
    with pytest.raises(StoreError, match="is not a unit key"):
        results.adversarial_points(rows)


def test_what_an_attack_says_is_noted(digits):
    from art_flat.attacks import as_attack

    net, x, y = digits

    def chatty(module, x, y):
        print("step 1 of 1", flush=True)
        return torch.zeros_like(x)

    results = af.evaluate(net, x, y, attacks=[as_attack(chatty)], deltas={"Linf": [0.1]}, certify=None)
    assert set(results.adversarial["notes"]) == {"step 1 of 1"}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0, 3), (7, 3), (3, 1 << 20)])
def test_points_are_written_in_pieces(dtype, shape, tmp_path):
    x = np.broadcast_to(np.arange(shape[0], dtype=dtype)[:, None], shape)
    samples = np.arange(shape[0])
    pieces = TensorPieces(InputRows(x), samples, {"run": "a"})
    assert list(pieces) == list(pieces)
    assert all(len(piece) <= 1 << 23 for piece in pieces)
    found = parse_tensors(b"".join(pieces), tmp_path, {"run": "a"})
    assert found["x"].dtype == dtype
    np.testing.assert_array_equal(found["x"], x)
    np.testing.assert_array_equal(found["sample"], samples)
