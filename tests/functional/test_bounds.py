import mpmath
import pytest
import torch
from bounds_cases import every_kind, exact, head, sound_kind, worst_case
from sampling import mostly_slow

from art_flat.functional import SOUND_BOUND_KINDS, feature_radius, loss_increase_bound

# Soundness


@pytest.mark.parametrize(("k", "d"), mostly_slow([(2, 3), (3, 2), (4, 6), (6, 4), (10, 5)], quick=[(3, 2)]))
def test_no_search_finds_more_than_a_sound_bound_allows(k, d):
    cases = 0
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        scale = 10 ** (3 * torch.rand((), generator=generator) - 1)
        case = head(1700, k, d, seed=seed, scale=float(scale))
        if seed % 4 == 3:
            case[2][-1] = case[2][0]  # two classes with one row
        t = 10 ** (4 * torch.rand(1700, generator=generator, dtype=torch.float64) - 3)
        found = worst_case(case[0], case[2], case[3], t)
        for kind in SOUND_BOUND_KINDS:
            bound = loss_increase_bound(*case, radius=t, kind=kind)
            assert (bound >= found * (1 - 1e-12) - 1e-13).all(), (kind, seed)
        cases += len(t)
    assert cases >= 20_000  # five heads: 100,000 and more


def test_best_is_nearly_reached_and_is_the_smallest():
    case = head(500, 4, 6, scale=3.0)
    t = torch.full((500,), 0.3, dtype=torch.float64)
    found = worst_case(case[0], case[2], case[3], t, steps=40)
    all_bounds = {k: loss_increase_bound(*case, radius=t, kind=k) for k in SOUND_BOUND_KINDS}
    ratio = found / all_bounds["best"]
    assert ratio.median() > 0.999
    assert ratio.quantile(0.05) > 0.97
    assert torch.equal(all_bounds["best"], torch.stack(list(all_bounds.values())).amin(dim=0))
    assert (all_bounds["chord"] <= all_bounds["lse"]).all()
    assert (all_bounds["directional"] <= all_bounds["chord"]).all()
    assert (all_bounds["flatness_neuronwise"] <= all_bounds["flatness"]).all()


def test_the_papers_expression_is_exceeded_where_the_gradient_is_not_zero():
    case = head(400, 4, 16)
    moving = (case[1] != 0).any(dim=1)
    t = torch.full((400,), 1e-3, dtype=torch.float64)
    found = worst_case(case[0], case[2], case[3], t)
    paper = loss_increase_bound(*case, radius=t, kind="paper")
    assert (found[moving] > 10 * paper[moving]).all()
    assert torch.isinf(paper[~moving]).all()


@pytest.mark.parametrize("kind", ["lse", "chord", "best"])
def test_exact_for_two_classes(kind):
    logits, _, weight, labels = case = head(200, 2, 5, scale=4.0)
    t = torch.linspace(0.01, 5.0, 200, dtype=torch.float64)
    v = t[:, None] * (weight[1 - labels] - weight[labels])
    v /= (weight[0] - weight[1]).norm()
    moved = torch.nn.functional.cross_entropy(logits + v @ weight.T, labels, reduction="none")
    increase = moved - torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(
        loss_increase_bound(*case, radius=t, kind=kind), increase, rtol=1e-9, atol=1e-13
    )


@pytest.mark.parametrize("kind", ["chord", "quadratic", "flatness", "flatness_neuronwise", "best"])
def test_exact_to_first_order(kind):
    logits, features, weight, labels = case = head(50, 5, 3, scale=2.0)
    phi = features.clone().requires_grad_()
    z = logits - features @ weight.T + phi @ weight.T
    gradient = torch.autograd.grad(torch.nn.functional.cross_entropy(z, labels, reduction="sum"), phi)[0]
    slope = loss_increase_bound(*case, radius=1e-7, kind=kind) / 1e-7
    torch.testing.assert_close(slope, gradient.norm(dim=1), rtol=1e-5, atol=1e-6)


# Numbers


@every_kind
@pytest.mark.parametrize("gap", [0.0, 5.0, 40.0, 690.0, 5000.0, -700.0])
@pytest.mark.parametrize("t", mostly_slow([1e-200, 1e-9, 0.3, 7.0, 300.0, 1e5], quick=[1e-200, 1e5]))
def test_extremes_agree_with_the_definition_and_are_never_below_it(kind, gap, t):
    weight = torch.tensor([[1.0, 0.5], [-0.5, 2.0], [3.0, -1.0]], dtype=torch.float64)
    features = torch.tensor([[0.3, -2.0]], dtype=torch.float64)
    logits = torch.tensor([[gap, 0.5, -1.0]], dtype=torch.float64)
    bound = loss_increase_bound(logits, features, weight, torch.tensor([0]), radius=t, kind=kind)
    with mpmath.workdps(450):
        got = mpmath.mpf(bound.item())
        if kind in {"directional", "best"}:  # no closed form: between the worst case and the chord
            chord = exact("chord", logits[0], features[0], weight, 0, t)
            least = exact("increase", logits[0], features[0], weight, 0, t)
            assert got >= min(least, mpmath.mpf("1e299"))
            assert got <= max(chord * (1 + 1e-10), 1e-307) or chord > mpmath.mpf("1e299")
            assert got <= max(least * 1.02, 1e-307) or gap < 0 or t > 100
            return
        wanted = exact(kind, logits[0], features[0], weight, 0, t)
        if wanted > mpmath.mpf("1e299"):
            assert got == mpmath.inf
        elif wanted < mpmath.mpf("1e-300"):
            assert 0 < got < mpmath.mpf("1e-307")
        else:
            assert abs(got - wanted) < 1e-10 * wanted
        if kind != "paper":
            assert got >= wanted


@pytest.mark.slow
def test_a_thousand_classes():
    case = head(3, 1000, 20, scale=3.0)
    found = worst_case(case[0], case[2], case[3], torch.ones(3, dtype=torch.float64))
    for kind in SOUND_BOUND_KINDS:
        bound = loss_increase_bound(*case, radius=1.0, kind=kind)
        assert (bound >= found).all()
        assert torch.isfinite(bound).all()
    lse = loss_increase_bound(*case, radius=1.0, kind="lse")[1]
    assert abs(exact("lse", case[0][1], case[1][1], case[2], int(case[3][1]), 1.0) / float(lse) - 1) < 1e-10


@every_kind
def test_at_zero_at_infinity_and_without_a_number(kind):
    logits, features, weight, labels = head(6, 3, 2)
    logits[2, 1] = torch.nan
    logits[3, 2] = torch.inf
    logits[4] = -torch.inf
    at = [
        loss_increase_bound(logits, features, weight, labels, radius=t, kind=kind)
        for t in torch.tensor([0.0, 1.0])
    ]
    at.append(
        loss_increase_bound(logits, features, weight, labels, radius=torch.full((6,), torch.inf), kind=kind)
    )
    radius = feature_radius(logits, features, weight, labels, epsilon=0.5, kind=kind)
    for value in [*at, radius]:
        assert torch.equal(torch.isnan(value), torch.tensor([False, False, True, True, True, False]))
    assert (at[0][[0, 1, 5]] == 0).all()
    assert (at[2][[0, 1, 5]] == torch.inf).all()


@every_kind
def test_classes_that_cannot_occur(kind):
    logits, features, weight, labels = head(4, 4, 3)
    logits[:, 3] = -torch.inf
    labels = labels.clamp(max=2)
    if kind in {"lse", "chord"}:
        fewer = logits[:, :3], features, weight[:3], labels
        expected = loss_increase_bound(*fewer, radius=0.7, kind=kind)
        actual = loss_increase_bound(logits, features, weight, labels, radius=0.7, kind=kind)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=0.0)
    logits[:] = -torch.inf
    logits[range(4), labels] = 1.0
    if kind in {"lse", "chord", "best"}:
        assert (feature_radius(logits, features, weight, labels, epsilon=0.1, kind=kind) == torch.inf).all()
    assert not torch.isnan(loss_increase_bound(logits, features, weight, labels, radius=0.7, kind=kind)).any()


@sound_kind
@pytest.mark.slow
def test_gradients(kind):
    logits, features, weight, labels = head(4, 3, 5, seed=3)
    t = torch.tensor([0.2, 0.5, 1.0, 2.0], dtype=torch.float64)
    inputs = [x.clone().requires_grad_() for x in (logits, weight, t)]
    inputs[0].data += torch.randn_like(logits) * 0.1  # no ties: the top class is not differentiable there
    assert torch.autograd.gradcheck(
        lambda z, w, r: loss_increase_bound(z, features, w, labels, radius=r, kind=kind),
        inputs,
        rtol=1e-4,
        # towards the worst direction a length is nearly 0, where differences see little of the slope
        atol=2e-4 if kind in {"directional", "best"} else 1e-5,
    )
