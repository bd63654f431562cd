"""The contract on every attack: grey and coloured images, 2, 3 and 10 classes, two ranges, with ART preprocessing.

Every usable attack has a floor under its strength, so that one that does nothing fails; a cell that an attack cannot
do must be refused with a reason. Six cells hold every pair of shape, number of classes and range; slow attacks run on
fewer, four of which hold every single value. PixelAttack, which searches pixel by pixel, fools nothing in colour
within a minute and runs on grey images.
"""

import itertools

import numpy as np
import pytest
from attack_cases import ART, ART_COLOUR, LARGER, TORCHATTACKS, UNFIT, Larger
from attack_cells import CELLS, Cell, problem, radius

from art_flat.attacks import list_attacks, load_attack
from art_flat.errors import AttackNotUsableError
from art_flat.testing import AttackContract

GREY, COLOUR = (1, 28, 28), (3, 32, 32)
COVER = [Cell(GREY, 2, 1.0), Cell(GREY, 10, 255.0), Cell(COLOUR, 3, 255.0), Cell(COLOUR, 10, 1.0)]
SOME = {
    "pairs": [*COVER, Cell(GREY, 3, 1.0), Cell(COLOUR, 2, 255.0)],
    "cover": COVER,
    "one": [Cell(GREY, 10, 255.0)],
    "two": [Cell(GREY, 10, 255.0), Cell(COLOUR, 3, 1.0)],
    "easy": [Cell(GREY, 10, 255.0), Cell(COLOUR, 2, 1.0)],
}
EVERY_TIME = {"torchattacks:PGD", "art:DeepFool"}
"""In the default run on four of the cells; everything else is marked slow."""


def cases():
    """Every case of both libraries as (attack, parameters, norm, δ on 8×8 digits, how it is tried on larger images)."""
    rows = [(f"art:{name}", *rest) for name, *rest in (*ART, *ART_COLOUR)]
    rows += [(f"torchattacks:{name}", *case[:4]) for name, case in TORCHATTACKS.items()]
    for name, params, norm, delta, _ in rows:
        if (name, norm) not in UNFIT:
            how = LARGER.get(name, Larger(floor=0.5))
            yield name, params if how.params is None else how.params, norm, how.delta or delta, how


def marks(name, cell):
    return () if name in EVERY_TIME and cell in COVER else (pytest.mark.slow,)


EVERY = [
    pytest.param(
        name, params, norm, delta, how, cell, id=f"{name}-{norm}-{i}-{cell}", marks=marks(name, cell)
    )
    for i, (name, params, norm, delta, how) in sorted(
        enumerate(cases()),
        key=lambda case: case[1][0] != "art:CarliniL0Method",  # the longest first, beside others
    )
    for cell in SOME[how.cells]
]


@pytest.mark.parametrize(("name", "params", "norm", "delta", "how", "cell"), EVERY)
def test_contract(name, params, norm, delta, how, cell, capfd):
    infos = list_attacks(name.split(":")[0])
    if name not in infos or infos[name].usability == "refused":
        pytest.skip(infos[name].reason if name in infos else "the library is not installed")
    net, x, y = problem(cell)
    x, y = x[: how.n], y[: how.n]
    attack = load_attack(f"{name}({params})")
    body = {"attack": attack, "norm": norm, "delta": min(radius(norm, delta, cell), limit(norm, cell))}
    contract = type("Contract", (AttackContract,), {**body, "strength": how.floor})()
    if refused(attack, net, norm):
        assert cell.nb_classes < 4 or cell.shape == GREY
        with pytest.raises(AttackNotUsableError, match=r"at least \d classes|images of 3 channels"):
            contract._run(net, x, y)
        return
    contract.test_state_is_unchanged((net, x, y), capfd)
    contract.test_points_are_inside_ball_and_range((net, x, y))
    contract.test_success_agrees_with_the_classifier((net, x, y))
    if how.cells == "pairs" and cell in COVER[1:3]:
        contract.test_label_forms_and_torch_agree((net, x, y))
        contract.test_one_sample((net, x, y))


def refused(attack, net, norm):
    """Whether the attack says that it cannot do this."""
    try:
        attack.check(net, norm)
    except AttackNotUsableError:
        return True
    return False


def limit(norm, cell):
    """The radius that no point of the range exceeds."""
    size = int(np.prod(cell.shape))
    return {"Linf": cell.high, "L2": cell.high * size**0.5, "L1": cell.high * size, "L0": size}[norm]


def test_every_usable_attack_is_in_the_matrix_and_none_may_do_nothing():
    infos = {n: i for lib in ("art", "torchattacks") for n, i in list_attacks(lib).items()}
    usable = {name for name, info in infos.items() if info.usability != "refused"}
    tried = {name for name, *_ in cases()}
    assert usable - tried <= {"torchattacks:OnePixel"}
    controls = {name for name, *_, how in cases() if not how.floor > 0}
    assert controls <= {name for name, info in infos.items() if info.access == "none"}
    assert LARGER.keys() <= tried
    for axis in range(3):
        assert {cell[axis] for cell in COVER} == {cell[axis] for cell in CELLS}
    for a, b in itertools.combinations(range(3), 2):
        assert {(cell[a], cell[b]) for cell in SOME["pairs"]} == {(cell[a], cell[b]) for cell in CELLS}
