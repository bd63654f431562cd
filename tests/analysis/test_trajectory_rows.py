"""Rows of a trajectory find their samples, whatever an attack drops, reorders or repeats."""

import numpy as np
import torch
from tolerances import close
from traced import asked_again, make, wide_fixture  # noqa: F401

from art_flat.analysis import trace_attack


def shuffled(problem, passes):
    for rows in passes:
        noise = (torch.rand(len(rows), *problem.x.shape[1:], dtype=problem.x.dtype) - 0.5) * problem.delta
        problem.module(torch.clamp(problem.x[rows] + noise, 0, 1))
    return problem.x


def test_rows_are_found_where_they_are_dropped_reordered_and_repeated(wide):
    net, x, y = wide
    passes = [[3, 1, 2], [0], [5, 5, 4, 5], list(range(11, -1, -1)), [7, 9], [7, 9], [0] * 12]
    seen = []

    def run(problem):
        handle = problem.module.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        try:
            return shuffled(problem, passes)
        finally:
            handle.remove()

    traced = trace_attack(net, make(run, budget="fixed"), x, y, delta=0.2)
    assert traced.matching_exact
    assert traced.n_foreign == 0
    expected = {i: [] for i in range(12)}
    for rows, points in zip(passes, seen, strict=True):
        for row, loss in zip(rows, asked_again(net, points, y[rows])["loss"], strict=True):
            expected[row].append(float(loss))
    for sample, part in traced.frame().groupby("sample"):
        np.testing.assert_array_equal(part["step"], range(len(part)))
        np.testing.assert_allclose(part["loss"].iloc[1:-1], expected[sample], **close("net"))


def test_matching_that_cannot_be_exact_says_so(wide):
    net, x, y = wide
    near = np.concatenate([x[:3], np.clip(x[:1] + 0.01, 0, 1)])
    labels = np.concatenate([y[:3], y[:1]])
    still = make(lambda problem: shuffled(problem, [[0, 1]]), budget="fixed")
    assert not trace_attack(net, still, near, labels, delta=0.2).matching_exact
    assert trace_attack(net, still, near[:3], labels[:3], delta=0.2).matching_exact
    twins = np.concatenate([x[:2], x[:1]])
    traced = trace_attack(
        net, make(lambda p: shuffled(p, [[0, 1, 2]]), budget="fixed"), twins, y[[0, 1, 0]], delta=0.2
    )
    assert not traced.matching_exact
    assert (traced.valley()["n_steps"] == 3).all()  # a whole batch is taken to be in order


def test_probe_images_are_left_out(wide):
    net, x, y = wide

    def run(problem):
        problem.module(torch.ones_like(problem.x[:1]))
        problem.module((problem.x + 0.05).clamp(0, 1))
        return problem.x

    traced = trace_attack(net, make(run, budget="fixed"), x, y, delta=0.1)
    assert traced.n_foreign == 1
    assert (traced.valley()["n_steps"] == 3).all()
