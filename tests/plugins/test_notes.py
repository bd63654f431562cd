"""What is known to be wrong with an attack is said by `art-flat attacks NAME`."""

import importlib.util

import pytest
from typer.testing import CliRunner

from art_flat.attacks import list_attacks
from art_flat.cli.app import app

DEFECTS = {
    "art:AutoConjugateGradient": "with cross-entropy it is nearly ineffective",
    "art:RescalingAutoConjugateGradient": "with cross-entropy it is nearly ineffective",
    "art:AutoAttack": "not the published standard",
    "art:AutoProjectedGradientDescent": "returns the clean point plus start noise",
    "art:SaliencyMapMethod": "reads y as a target",
    "art:HopSkipJump": "draws from generators that ART does not seed",
    "art:BoundaryAttack": "draws from generators that ART does not seed",
    "art:NewtonFool": "for two classes is the boundary itself",
    "torchattacks:AutoAttack": "not the library's 10",
    "torchattacks:CW": "depends on the other samples of the batch",
    "torchattacks:EADL1": "depends on the other samples of the batch",
    "torchattacks:EADEN": "depends on the other samples of the batch",
    "torchattacks:DeepFool": "stalls just inside the boundary",
    "torchattacks:APGD": "sets torch's global seed",
    "torchattacks:APGDT": "sets torch's global seed",
    "torchattacks:FAB": "sets torch's global seed",
    "torchattacks:Square": "sets torch's global seed",
    "torchattacks:LGV": "it trains copies of the classifier",
    "advlib:DDN": "moves every value of inputs that are not on it",
    "advlib:FMN": "the library fails where one changed value suffices",
    "advlib:ALMA": "the library's search for the step size never ends",
    "advlib:PDPGD": "a root of rounding errors below 0 is NaN",
    "advlib:TR": "too little for most samples in L2",
    "advlib:VFGA": "where the softmax is exactly 1 in float32",
    "advlib:SigmaZero": "for targets it would return the inputs",
    "advlib:SuperDeepFool": "10,000 and 90,000 by default for ten classes",
    "advlib:APGD": "the library takes 100 steps regardless of n_iter",
    "advlib:APGDTargeted": "attacks the true class too, and counts it as found",
}


@pytest.mark.parametrize("name", DEFECTS)
def test_each_known_defect_is_said(name):
    module = {"torchattacks": "torchattacks", "advlib": "adv_lib"}.get(name.split(":")[0])
    if module is not None and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    info = list_attacks(name.split(":")[0])[name]
    assert DEFECTS[name] in " ".join([info.reason, *info.notes])


def test_the_command_line_shows_them():
    shown = CliRunner().invoke(app, ["attacks", "art:AutoConjugateGradient"])
    assert shown.exit_code == 0
    assert DEFECTS["art:AutoConjugateGradient"] in " ".join(shown.output.split())
