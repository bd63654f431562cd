"""Parameters of attacks as people write them: fractions, texts of numbers, NumPy's numbers."""

import numpy as np
import pytest

import art_flat as af
from art_flat.errors import ArtFlatError, InputError, ParameterError

STEPS = [
    ("art_flat:PGD", "step_size"), ("torchattacks:PGD", "alpha"), ("art:ProjectedGradientDescent", "eps_step"),
    ("foolbox:LinfProjectedGradientDescentAttack", "abs_stepsize"),
]  # fmt: skip


@pytest.mark.parametrize(("attack", "step"), STEPS)
@pytest.mark.parametrize("text", ["2/255", "'2/255'", '" 2 / 255 "', "0.00784313725490196"])
def test_a_step_may_be_a_fraction(attack, step, text):
    found = af.load_attack(f"{attack}({step}={text})")
    assert found.params[step] == 2 / 255
    assert af.load_attack(found.name).hash == found.hash
    assert found.hash == af.load_attack(attack, **{step: 2 / 255}).hash
    assert found.fixed_steps(0.1).size == 2 / 255


@pytest.mark.parametrize(("attack", "step"), STEPS)
def test_a_fraction_as_a_keyword_finds_the_same_points(attack, step, linear):
    net = linear(np.random.default_rng(0).normal(size=(3, 5)))
    x, y = np.random.default_rng(1).random((6, 5), dtype=np.float32), np.arange(6) % 3
    found = [af.load_attack(attack, **{step: s})(net, x, y, delta="8/255").x for s in ("2/255", 2 / 255)]
    np.testing.assert_array_equal(*found)
    assert (found[0] != x).any()


@pytest.mark.parametrize(("attack", "step"), STEPS)
@pytest.mark.parametrize("value", ["quick", "0", -0.1, 0, np.nan])
def test_what_is_not_a_step_is_refused(attack, step, value, linear):
    x = np.full((2, 5), 0.5, np.float32)
    with pytest.raises(InputError, match=f"`{step}` must be") as raised:
        af.load_attack(attack, **{step: value})(linear(np.eye(3, 5)), x, np.arange(2), delta=0.1)
    assert attack in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("art_flat:PGD(steps=2/0)", "2 / 0 is not a number"),
        ("art_flat:PGD(steps=f(3))", r"f\(3\) is not a number"),
        ("art_flat:PGD(steps='a'/2)", "'a' / 2 is not a number"),
        ("art_flat:PGD(steps='ten')", "`steps` must be a number such as 0.01 or 2/255, got 'ten'"),
        ("torchattacks:PGD(alpha='1/0')", "`alpha` must be a number"),
    ],
)
def test_what_cannot_be_read_says_so_in_words(text, words):
    with pytest.raises(ArtFlatError, match=words) as raised:
        af.load_attack(text)
    assert "0x" not in str(raised.value)


def test_other_texts_stay_texts():
    assert af.load_attack("torchattacks:APGD(loss='dlr')").params["loss"] == "dlr"
    assert af.load_attack("torchattacks:UPGD", loss="ce").params["loss"] == "ce"
    with pytest.raises(ParameterError, match="has no parameter"):
        af.load_attack("art_flat:PGD(pace=1/2)")


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize(
    ("attack", "count"),
    [
        ("art_flat:PGD", "steps"), ("art_flat:APGD", "restarts"), ("art_flat:GaussianNoise", "steps"),
        ("torchattacks:PGD", "steps"), ("art:ProjectedGradientDescent", "max_iter"),
        ("foolbox:LinfProjectedGradientDescentAttack", "steps"),
    ],
)  # fmt: skip
def test_numpy_counts_are_counts(attack, count, kind, linear):
    found = af.load_attack(attack, **{count: kind(2)})
    assert found.name == f"{attack}({count}=2)"
    x = np.full((2, 5), 0.5, np.float32)
    found(linear(np.eye(3, 5)), x, np.arange(2), delta=np.float32(0.1), seed=kind(3))
