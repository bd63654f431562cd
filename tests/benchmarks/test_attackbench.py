"""The figures of the comparison with AttackBench, as they stand in the file."""

import json
from pathlib import Path

import numpy as np

from art_flat.scores import distance_optimality_score

FACTS = json.loads((Path(__file__).parents[2] / "benchmarks" / "attackbench.json").read_text("utf-8"))


def test_distances_are_the_same_and_local_optimality_within_two_hundredths():
    assert FACTS["attackbenchlib"] == "2.0.2"
    assert len(FACTS["table"]) == len(FACTS["rows"]) >= 3
    for line, row in zip(FACTS["table"], FACTS["rows"], strict=True):
        assert len(row["art_flat"]["best"]) == 200
        assert abs(line["difference"]) <= 0.02, line["attack"]
        ours, final = np.array(row["art_flat"]["best"]), np.array(row["attackbench"]["final"])
        np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(final))


def test_the_scores_are_those_of_the_distances():
    for line, row in zip(FACTS["table"], FACTS["rows"], strict=True):
        others = [r["art_flat"]["best"] for r in FACTS["rows"] if r["norm"] == row["norm"]]
        score = distance_optimality_score(row["art_flat"]["best"], others)
        assert abs(score - float(line["local optimality"].split(" / ")[0])) < 1e-4
