"""Plans: costs that follow the measurements, and the time of a run within 30 %."""

import time

import pytest
from run_cases import attack, grid_of, same, small_run

import art_flat as af
from art_flat.evaluation import Plan, plan
from art_flat.evaluation.planning import CLEAN_PASS, fitted_line

SECONDS = 0.004


def takes_its_time(module, x, y, delta, norm):
    """Costs a constant and a part per sample; more at a larger δ."""
    time.sleep(0.01 + SECONDS * len(x) * (1 if delta < 0.15 else 8))
    return 1 - x


def make(**changes):
    arguments = small_run(
        attacks=[attack(takes_its_time, budget="fixed"), "art_flat:PGD(steps=3)"],
        deltas={"Linf": [0.1, 0.2]}, shard_size=8, **changes,
    )  # fmt: skip
    return arguments, plan(**arguments, probe_seconds=0.05)


@pytest.mark.slow
def test_a_plan_has_every_unit_and_counts_its_passes():
    arguments, made = make()
    grid = grid_of(**small_run(**arguments))
    assert isinstance(made, Plan)
    assert len(made.units) == len(grid.clean) + len(grid.attacked) == 3 + 12
    assert made.units["samples"].tolist() == [8] * 15
    table = made.table().set_index("attack")
    assert table.loc[CLEAN_PASS, "forwards"] == 24
    assert table.loc["art_flat:PGD(steps=3)", "backwards"] == 24 * 2 * 3
    records = af.evaluate(**small_run(**arguments)).adversarial
    pgd = records[records["attack"] == "art_flat:PGD(steps=3)"]
    assert table.loc["art_flat:PGD(steps=3)", "forwards"] == pytest.approx(pgd["forwards"].sum())


def test_seconds_follow_the_radius():
    _, made = make()
    own = made.units[made.units["attack"] == "own:takes_its_time"].groupby("delta")["seconds"].mean()
    for delta, factor in ((0.1, 1), (0.2, 8)):
        assert own[delta] >= 0.99 * (0.01 + SECONDS * 8 * factor)  # and what is measured around the attack
    assert own[0.2] > own[0.1]


@pytest.mark.slow
def test_bytes_are_those_of_the_files(tmp_path):
    arguments, made = make()
    af.evaluate(**small_run(**arguments), out=tmp_path / "run")
    written = sum(p.stat().st_size for p in (tmp_path / "run").rglob("*/*.parquet"))
    assert made.units["bytes"].sum() == pytest.approx(written, rel=0.1)


def test_workers_share_the_time():
    _, made = make()
    alone = made.units["seconds"].sum()
    assert made.seconds(1) == pytest.approx(alone + made.setup_seconds)
    assert alone / 2 <= made.seconds(2) - made.setup_seconds <= alone / 2 + made.units["seconds"].max()
    assert made.seconds(100) == pytest.approx(made.units["seconds"].max() + made.setup_seconds)


def test_lines():
    assert fitted_line([2, 8], [3.0, 9.0]) == pytest.approx((1.0, 1.0))
    assert fitted_line([4], [2.0]) == (0.0, 0.5)
    assert fitted_line([2, 8], [5.0, 4.0]) == pytest.approx((4.0, 0.0))
    assert fitted_line([2, 4], [1.0, 4.0]) == (0.0, 1.0)


@pytest.mark.slow
def test_planning_changes_nothing():
    arguments, _ = make()
    arguments = small_run(**arguments)
    before = af.evaluate(**arguments)
    net = arguments["models"]["tiny"]
    identity = net.identity()
    plan(
        net,
        arguments["x"],
        arguments["y"],
        attacks="art_flat:PGD(steps=3)",
        deltas={"Linf": [0.1]},
        probe_seconds=0.01,
    )
    assert net.identity() == identity
    same(af.evaluate(**arguments), before)
