"""A default derivation is bounded by the planned attacks, an explicit one always runs, and neither is silent."""

import numpy as np
import pytest
import torch
from run_cases import small_run
from torch import nn
from torch.nn.utils import skip_init

import art_flat as af
from art_flat.evaluation import certificate_budget, plan
from art_flat.functional import lipschitz_constant, lipschitz_cost
from art_flat.functional._operator_norm import convolution_norm
from art_flat.models import as_classifier


@pytest.fixture(scope="module")
def wide():
    """A net whose widest layer takes more operations to decompose, in three norms, than a default may take."""
    layers = [skip_init(nn.Linear, *sizes) for sizes in ((6, 4000), (4000, 4000), (4000, 3))]
    with torch.no_grad():
        for layer in layers:
            layer.weight.zero_().fill_diagonal_(1.0)
            layer.bias.zero_()
    return af.adapt(as_classifier(nn.Sequential(*layers), input_shape=(6,), nb_classes=3))


def messages(**changes):
    states = []
    results = af.evaluate(**small_run(**changes), progress=states.append)
    return results, states


def wide_run(wide, **changes):
    deltas = {norm: [0.1] for norm in ("Linf", "L2", "L1")}
    few = {"x": small_run()["x"][:4], "y": [0, 1, 2, 0]}
    return small_run(models={"tiny": wide}, **few, attacks="art_flat:UniformNoise", deltas=deltas, **changes)


def test_costly_constants_are_left_out_and_reported(wide, tmp_path):
    results = af.evaluate(**wide_run(wide, out=tmp_path))
    assert results.certified.empty
    assert results.summary()["certified_accuracy"].isna().all()
    (finding,) = [f for f in results.findings() if f.id == "certificates-skipped"]
    assert finding.severity == "info"
    assert "tiny: nothing is certified" in str(finding)
    assert 'lipschitz="spectral"' in finding.advice
    assert "certificates-skipped" in results.to_markdown()
    assert 'lipschitz = "auto"' in (tmp_path / "config.toml").read_text(encoding="utf-8")
    again = af.evaluate(**wide_run(wide, out=tmp_path))
    assert [f.id for f in again.findings()] == [f.id for f in results.findings()]


def test_constants_that_are_given_always_count(wide):
    results = af.evaluate(**wide_run(wide, lipschitz={"tiny": 3.0}))
    assert len(results.certified)
    assert "certificates-skipped" not in [f.id for f in results.findings()]


def test_constants_that_are_asked_for_are_derived():
    assert len(messages(lipschitz="spectral")[0].certified)


@pytest.mark.slow
def test_a_cheap_default_equals_the_explicit_request():
    default, explicit = (messages(lipschitz=kind)[0] for kind in ("auto", "spectral"))
    assert default.facts["run"] == explicit.facts["run"]
    assert default.facts["clean_units"] == explicit.facts["clean_units"]
    assert np.array_equal(default.certified["loss_increase_bound"], explicit.certified["loss_increase_bound"])


def test_plan_leaves_out_what_the_run_leaves_out(wide):
    assert plan(**wide_run(wide), probe_seconds=0.001).setup_seconds < 0.5  # deriving them takes minutes


def test_progress_speaks_before_the_first_attack():
    _, states = messages()
    first = next(i for i, state in enumerate(states) if state.current is not None)
    notes = [state.note for state in states[:first]]
    assert notes[0] == "preparing"
    assert all(state.done == 0 and state.total == states[-1].total for state in states[:first])
    assert [n for n in notes if n.startswith("tiny: Lipschitz constant in L∞, layer ")]
    assert "tiny: clean samples 0–5" in notes
    assert not any(state.note for state in states[first:])


def test_every_layer_is_counted():
    calls = []
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    lipschitz_constant(net, (4,), notify=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 5) for done in range(1, 6)]


def test_cost_counts_every_multiplication_of_a_pass():
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 25, 7)).eval()
    cost = lipschitz_cost(net, torch.zeros(1, 2, 5, 5))
    assert cost.forward == 25 * 4 * 2 * 9 + 100 * 7
    wider = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 25, 7)).eval()
    assert lipschitz_cost(wider, torch.zeros(1, 2, 5, 5)).derivation > cost.derivation > 0
    assert not any(m._forward_hooks for m in net.modules())


def test_more_attacks_allow_a_longer_derivation():
    passes = []
    for steps, deltas in ((3, [0.1]), (30, [0.1]), (30, [0.1, 0.2])):
        attack = af.load_attack(f"art_flat:PGD(steps={steps})")
        passes.append(certificate_budget.planned_passes([attack], {"Linf": tuple(deltas)}, 50))
    assert passes == [3 * 3 * 50, 3 * 30 * 50, 3 * 60 * 50]
    assert small_run()["models"]["tiny"].lipschitz_cost().forward == 6 * 8 + 8 * 3


@pytest.mark.parametrize("stride", [1, 2])
def test_a_pointwise_convolution_needs_one_frequency(stride):
    weight = torch.randn(5, 3, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = convolution_norm(weight, (9, 7), stride=(stride, stride), dilation=(1, 1), groups=1)
    truth = float(torch.linalg.matrix_norm(weight[:, :, 0, 0], ord=2))
    assert truth <= found <= truth * (1 + 1e-6)
