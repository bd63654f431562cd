import math

import mpmath
import pytest
import torch

from art_flat import _errors
from art_flat.functional import bounds
from art_flat.functional.bounds import BOUND_KINDS, SOUND_BOUND_KINDS, feature_radius, loss_increase_bound

every_kind = pytest.mark.parametrize("kind", BOUND_KINDS)
sound_kind = pytest.mark.parametrize("kind", SOUND_BOUND_KINDS)


# References: the worst case by search, and the formulas with 450 digits


def worst_case(logits, weight, labels, t, *, steps=8):
    """A lower estimate of F(t): the largest increase found from a start along every u_j and along g.

    F is convex in the move v, so that v ← t ∇/‖∇‖ never descends.
    """
    log_p = logits.double().log_softmax(dim=1)[:, None, :]
    others = log_p.scatter(2, labels[:, None, None], -torch.inf)
    u = weight.double()[None] - weight.double()[labels][:, None]
    radius = t[:, None, None]
    v = torch.nn.functional.normalize(torch.cat([u, others.softmax(dim=2) @ u], dim=1), dim=2) * radius
    best = torch.zeros_like(t)
    for step in range(steps + 1):
        a = v @ u.transpose(1, 2)
        if step % 4 == 0:
            best = torch.maximum(best, (log_p.exp() * a.expm1()).sum(dim=2).log1p().amax(dim=1))
        v = torch.nn.functional.normalize((others + a).softmax(dim=2) @ u, dim=2) * radius
    return best


def exact(kind, logits, features, weight, label, t):
    """One bound of one sample, straight from its definition, with 450 digits."""
    with mpmath.workdps(450):
        z, w = [mpmath.mpf(v) for v in logits.tolist()], mpmath.matrix(weight.tolist())
        k, d, t = len(z), w.cols, mpmath.mpf(t)
        total = mpmath.fsum(mpmath.exp(v) for v in z)
        p = [mpmath.exp(v) / total for v in z]

        def norm(vector):
            return mpmath.sqrt(mpmath.fsum(v * v for v in vector))

        u = [[w[j, i] - w[label, i] for i in range(d)] for j in range(k)]
        r = [norm(row) for row in u]
        g = norm([mpmath.fsum(p[j] * u[j][i] for j in range(k)) for i in range(d)])

        def pair_sum(c):
            return mpmath.fsum(p[s] * p[q] * c(s, q) for s in range(k) for q in range(k) if s != q)

        def gap(s, q):
            return norm([w[s, i] - w[q, i] for i in range(d)])

        def flat(c):
            diam = max(gap(s, q) for s in range(k) for q in range(k))
            return t * g + c * (mpmath.exp(t * diam) - 1 - t * diam) / diam**2

        if kind == "lse":
            return mpmath.log1p(mpmath.fsum(p[j] * mpmath.expm1(t * r[j]) for j in range(k)))
        if kind == "chord":
            level = mpmath.fsum(p[j] * (mpmath.cosh(t * r[j]) - 1) for j in range(k))
            pull = [p[j] * mpmath.sinh(t * r[j]) / r[j] if r[j] else mpmath.mpf(0) for j in range(k)]
            return mpmath.log1p(
                level + norm([mpmath.fsum(pull[j] * u[j][i] for j in range(k)) for i in range(d)])
            )
        if kind == "quadratic":
            return t * g + t**2 * max(gap(s, q) for s in range(k) for q in range(k)) ** 2 / 8
        if kind == "flatness":
            return flat(mpmath.fsum(v * v for v in w) * pair_sum(lambda s, q: 1))
        if kind == "flatness_neuronwise":
            return flat(pair_sum(lambda s, q: gap(s, q) ** 2) / 2)
        if kind == "best":
            return min(exact(other, logits, features, weight, label, t) for other in SOUND_BOUND_KINDS[1:])
        length = norm([mpmath.mpf(v) for v in features.tolist()])
        kappa = mpmath.fsum(v * v for v in w) * length**2 * pair_sum(lambda s, q: 1)
        return (t / length) ** 2 / 2 * kappa + (t / length) ** 3 * k * d / 24


def head(n, k, d, *, seed=0, scale=1.0, dtype=torch.float64):
    """Logits, features, weight and labels: any label, some φ = 0, some logits tied at the top."""
    generator = torch.Generator().manual_seed(seed)
    weight, features, bias = (
        torch.randn(s, generator=generator, dtype=dtype) for s in ((k, d), (n, d), (k,))
    )
    features[::7] = 0.0
    logits = scale * (features @ weight.T + bias)
    logits[::5, 0] = logits[::5].amax(dim=1)
    return logits, features, weight, torch.randint(0, k, (n,), generator=generator)


# Soundness


@pytest.mark.parametrize(("k", "d"), [(2, 3), (3, 2), (4, 6), (6, 4), (10, 5)])
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
    assert (found / all_bounds["best"]).median() > 0.95
    assert torch.equal(all_bounds["best"], torch.stack(list(all_bounds.values())).amin(dim=0))
    assert (all_bounds["chord"] <= all_bounds["lse"]).all()
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
@pytest.mark.parametrize("t", [1e-200, 1e-9, 0.3, 7.0, 300.0, 1e5])
def test_extremes_agree_with_the_definition_and_are_never_below_it(kind, gap, t):
    weight = torch.tensor([[1.0, 0.5], [-0.5, 2.0], [3.0, -1.0]], dtype=torch.float64)
    features = torch.tensor([[0.3, -2.0]], dtype=torch.float64)
    logits = torch.tensor([[gap, 0.5, -1.0]], dtype=torch.float64)
    bound = loss_increase_bound(logits, features, weight, torch.tensor([0]), radius=t, kind=kind)
    with mpmath.workdps(450):
        wanted = exact(kind, logits[0], features[0], weight, 0, t)
        got = mpmath.mpf(bound.item())
        if wanted > mpmath.mpf("1e299"):
            assert got == mpmath.inf
        elif wanted < mpmath.mpf("1e-300"):
            assert 0 < got < mpmath.mpf("1e-307")
        else:
            assert abs(got - wanted) < 1e-10 * wanted
        if kind != "paper":
            assert got >= wanted


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
def test_gradients(kind):
    logits, features, weight, labels = head(4, 3, 5, seed=3)
    t = torch.tensor([0.2, 0.5, 1.0, 2.0], dtype=torch.float64)
    inputs = [x.clone().requires_grad_() for x in (logits, weight, t)]
    inputs[0].data += torch.randn_like(logits) * 0.1  # no ties: the top class is not differentiable there
    assert torch.autograd.gradcheck(
        lambda z, w, r: loss_increase_bound(z, features, w, labels, radius=r, kind=kind), inputs, rtol=1e-4
    )


# The inverse


@every_kind
@pytest.mark.parametrize("epsilon", [1e-12, 1e-3, math.log(2), 50.0, 1e6])
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 3000.0])
def test_the_radius_is_the_largest_at_which_the_bound_holds(kind, epsilon, scale):
    case = head(60, 5, 4, scale=scale)
    radius = feature_radius(*case, epsilon=epsilon, kind=kind)
    if kind == "paper":
        assert (radius[::7] == 0).all()
        case, radius = tuple(x[radius > 0] if len(x) == 60 else x for x in case), radius[radius > 0]
    assert (radius > 0).all()
    assert torch.isfinite(radius).all()
    assert (loss_increase_bound(*case, radius=radius, kind=kind) <= epsilon).all()
    one_by_one = [
        loss_increase_bound(
            case[0][i : i + 1], case[1][i : i + 1], case[2], case[3][i : i + 1], radius=radius[i], kind=kind
        )
        for i in range(len(radius))
    ]
    assert (torch.cat(one_by_one) <= epsilon).all()
    assert (loss_increase_bound(*case, radius=radius * (1 + 1e-6), kind=kind) > epsilon).all()


def test_the_radius_is_not_above_the_true_one_and_near_it():
    case = head(200, 6, 8, scale=2.0)
    radius = feature_radius(*case, epsilon=math.log(2))
    found = worst_case(case[0], case[2], case[3], radius, steps=40)
    assert (found <= math.log(2)).all()
    assert (worst_case(case[0], case[2], case[3], radius / 0.9, steps=40) > math.log(2)).double().mean() > 0.5


@every_kind
def test_epsilon_zero_and_one_for_each(kind):
    case = head(20, 3, 4)
    assert (feature_radius(*case, epsilon=0.0, kind=kind) == 0).all()
    epsilon = torch.linspace(0.0, 2.0, 20, dtype=torch.float64)
    each = feature_radius(*case, epsilon=epsilon, kind=kind)
    single = [
        feature_radius(
            case[0][i : i + 1], case[1][i : i + 1], case[2], case[3][i : i + 1], epsilon=e, kind=kind
        )
        for i, e in enumerate(epsilon.tolist())
    ]
    torch.testing.assert_close(each, torch.cat(single), rtol=1e-11, atol=0.0)


@pytest.mark.parametrize("kind", ["best", "chord", "lse", "quadratic", "flatness_neuronwise"])
def test_infinite_where_no_move_raises_the_loss(kind):
    logits, features, _, labels = head(9, 3, 4)
    weight = torch.ones(3, 4, dtype=torch.float64)
    for epsilon in (0.0, 0.3):
        assert (
            feature_radius(logits, features, weight, labels, epsilon=epsilon, kind=kind) == torch.inf
        ).all()
    unlimited = torch.full((9,), torch.inf)
    assert (loss_increase_bound(logits, features, weight, labels, radius=unlimited, kind=kind) == 0).all()


def test_prediction_cannot_become_wrong_within_the_radius_of_log_2_minus_the_loss():
    logits, features, weight, _ = head(300, 4, 5, scale=3.0)
    labels = logits.argmax(dim=1)
    room = math.log(2) - torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    sure = room > 0
    logits, features, labels = logits[sure], features[sure], labels[sure]
    radius = feature_radius(logits, features, weight, labels, epsilon=room[sure])
    w = weight[None] - weight[labels][:, None]
    to_boundary = (logits.gather(1, labels[:, None]) - logits) / w.norm(dim=2)
    nearest = to_boundary.scatter(1, labels[:, None], torch.inf).amin(dim=1)
    assert sure.sum() > 50
    assert (radius <= nearest).all()


# Forms of the input


@every_kind
@pytest.mark.parametrize("call", ["bound", "radius"])
def test_order_chunks_label_form_and_dtype(kind, call, monkeypatch):
    logits, features, weight, labels = head(40, 4, 3, dtype=torch.float32)

    def value(z, phi, y):
        if call == "bound":
            return loss_increase_bound(z, phi, weight, y, radius=0.4, kind=kind)
        return feature_radius(z, phi, weight, y, epsilon=0.4, kind=kind)

    def same(actual):
        torch.testing.assert_close(actual, whole, rtol=1e-11, atol=0.0)

    whole = value(logits, features, labels)
    assert whole.dtype == torch.float64
    assert whole.shape == (40,)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    same(value(logits[order], features[order], labels[order])[order.argsort()])
    same(value(logits, features, torch.nn.functional.one_hot(labels, 4)))
    same(value(logits.double(), features.double(), labels))
    monkeypatch.setattr(bounds, "_CHUNK", 12)
    same(value(logits, features, labels))
    assert value(logits[:0], features[:0], labels[:0]).shape == (0,)


@every_kind
def test_a_logistic_head_is_two_classes(kind):
    logits, features, weight, _ = head(10, 1, 3, scale=2.0)
    labels = torch.arange(10) % 2
    pair = torch.cat([-logits / 2, logits / 2], dim=1), features, torch.cat([-weight / 2, weight / 2]), labels
    one = loss_increase_bound(logits, features, weight, labels, radius=0.5, kind=kind)
    torch.testing.assert_close(one, loss_increase_bound(*pair, radius=0.5, kind=kind), rtol=1e-11, atol=0.0)
    if kind == "lse":
        sign = torch.where(labels == 1, -1.0, 1.0).double()
        moved = torch.nn.functional.softplus(sign * logits[:, 0] + 0.5 * weight.norm())
        increase = moved - torch.nn.functional.softplus(sign * logits[:, 0])
        torch.testing.assert_close(one, increase, rtol=1e-9, atol=0.0)


@every_kind
def test_invariances(kind):
    """Rotating feature space changes nothing; a common shift of the rows nothing but ‖W‖."""
    logits, features, weight, labels = head(20, 4, 6)
    turn = torch.linalg.qr(
        torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    )[0]
    plain = loss_increase_bound(logits, features, weight, labels, radius=0.6, kind=kind)
    turned = loss_increase_bound(logits, features @ turn, weight @ turn, labels, radius=0.6, kind=kind)
    torch.testing.assert_close(plain, turned, rtol=1e-10, atol=0.0)
    shifted = loss_increase_bound(logits, features, weight + 100.0, labels, radius=0.6, kind=kind)
    if kind in {"flatness", "paper"}:
        assert (shifted[1:7] > plain[1:7]).all()
    else:
        torch.testing.assert_close(plain, shifted, rtol=1e-8, atol=0.0)


# Bad input


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"radius": -0.1}, "`radius` must be at least 0 .feature units., got -0.1"),
        ({"radius": math.nan}, "`radius` must be finite"),
        (
            {"radius": torch.tensor([0.1, -2.0, 0.1])},
            "`radius` must be at least 0 .feature units., got -2 in sample 1",
        ),
        ({"radius": torch.tensor([0.1, 0.1, math.nan])}, "got nan in sample 2"),
        ({"radius": torch.ones(2)}, r"`radius` must be one number, or one for each of 3 samples, got \(2,\)"),
        ({"kind": "cord"}, "unknown kind of bound 'cord': did you mean 'chord'"),
        (
            {"labels": torch.tensor([0, 1, 4])},
            "`labels` has labels from 0 to 4, the classifier has classes 0 to 3",
        ),
        ({"weight": torch.ones(3, 2)}, "`logits` has 4 classes and `weight` 3 rows"),
        ({"eps": 0.1}, "the radius is `delta`, the tolerated loss change is `epsilon`"),
    ],
)
def test_bad_input_of_the_bound(change, words):
    logits, features, weight, labels = head(3, 4, 2)
    arguments = {
        "logits": logits,
        "features": features,
        "weight": weight.double(),
        "labels": labels,
        "radius": 0.1,
    }
    with pytest.raises((_errors.InputError, _errors.ParameterError), match=words):
        loss_increase_bound(**(arguments | change))


@pytest.mark.parametrize(
    ("epsilon", "words"),
    [
        (-1e-9, "`epsilon` must be at least 0 .nats., got -1e-09"),
        (math.nan, "`epsilon` must be finite"),
        (
            torch.tensor([0.1, -0.3, 0.2]),
            "`epsilon` must be at least 0 and finite .nats., got -0.3 in sample 1",
        ),
        (torch.tensor([0.1, math.inf, 0.2]), "got inf in sample 1"),
        ("a lot", "`epsilon` must be a number in nats, got 'a lot'"),
    ],
)
def test_bad_epsilon(epsilon, words):
    with pytest.raises(_errors.InputError, match=words):
        feature_radius(*head(3, 4, 2), epsilon=epsilon)
