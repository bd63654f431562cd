"""Parts of a run, computed separately and merged."""

import itertools
import shutil

import pytest
from run_cases import grid_of, same, small_run

import art_flat as af
from art_flat.errors import InputError, StoreError
from art_flat.evaluation import merge

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed():
    return af.evaluate(**small_run())


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    for i in (1, 2, 3):
        af.evaluate(**small_run(), out=folder / f"p{i}", part=f"{i}/3", save_adversarial=True)
    return folder


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_parts_are_disjoint_and_complete(n):
    grid = grid_of(**small_run())
    shares = [grid.part((i, n)) for i in range(1, n + 1)]
    for units, shared in (
        (grid.clean, [s.clean for s in shares]),
        (grid.attacked, [s.attacked for s in shares]),
    ):
        keys = [u.key for u in itertools.chain(*shared)]
        assert sorted(keys) == sorted(u.key for u in units)
        assert max(map(len, shared)) - min(map(len, shared)) <= 1


def test_sequences_stay_together():
    attacks = ["art_flat:GaussianNoise @s.1", "art_flat:PGD(steps=2) @s.2", "art_flat:APGD(steps=2) @s.3"]
    grid = grid_of(**small_run(attacks=attacks))
    for i in range(1, 6):
        share = {u.key for u in grid.part((i, 5)).attacked}
        for unit in grid.part((i, 5)).attacked:
            assert {u.key for u in unit.depends_on} <= share
    assert [len({u.attack.position for u in level}) for level in grid.levels()] == [1, 1, 1]


def test_merged_parts_are_the_run_itself(parts, tmp_path, undisturbed):
    folders = [parts / f"p{i}" for i in (1, 2, 3)]
    assert af.Results.load(folders[0]).missing_units > 0
    assert not (folders[0] / "summary.csv").exists()
    merged = merge(folders, tmp_path / "whole")
    assert (merged.added, merged.damaged, merged.results.missing_units) == (20, [], 0)
    same(merged.results, undisturbed)
    assert merged.results.adversarial_points(merged.results.adversarial).shape == (120, 6)
    before = {p: p.read_bytes() for p in (tmp_path / "whole").rglob("*") if p.is_file()}
    assert merge(folders[::-1], tmp_path / "whole").added == 0
    assert {p: p.read_bytes() for p in (tmp_path / "whole").rglob("*") if p.is_file()} == before
    same(af.evaluate(**small_run(), out=tmp_path / "whole"), undisturbed)


def test_merging_into_the_first_folder(parts, tmp_path, undisturbed):
    for i in (1, 2, 3):
        shutil.copytree(parts / f"p{i}", tmp_path / f"p{i}")
    merged = merge([tmp_path / f"p{i}" for i in (1, 2, 3)])
    assert merged.results.folder == tmp_path / "p1"
    same(merged.results, undisturbed)


def test_damaged_units_are_left_out_and_named(parts, tmp_path, undisturbed):
    shutil.copytree(parts / "p2", tmp_path / "p2")
    broken = next((tmp_path / "p2" / "adversarial").iterdir())
    broken.write_bytes(broken.read_bytes()[:-1])
    merged = merge([parts / "p1", tmp_path / "p2", parts / "p3"], tmp_path / "whole")
    assert merged.results.missing_units == 1
    assert len(merged.damaged) == 1
    assert str(broken) in merged.damaged[0]
    assert broken.exists()
    same(af.evaluate(**small_run(), out=tmp_path / "whole"), undisturbed)  # which computes what is missing


def test_other_runs_are_refused_with_the_difference(parts, tmp_path):
    af.evaluate(**small_run(seed=3), out=tmp_path / "other", part="1/3")
    with pytest.raises(StoreError, match="seed: 0 in the first, 3 in the second"):
        merge([parts / "p1", tmp_path / "other"], tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
    with pytest.raises(StoreError, match="holds no art_flat results"):
        merge([parts / "p1", tmp_path])
    with pytest.raises(InputError, match="no folder"):
        merge([])


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b", "1/3/5", (1,), 3, "-1/3", "1/0"])
def test_bad_parts(part):
    with pytest.raises(InputError, match="third of 16"):
        af.evaluate(**small_run(), part=part)
