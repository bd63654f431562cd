"""What is known to be wrong with an attack is said by `art-flat attacks NAME`."""

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
}


@pytest.mark.parametrize("name", DEFECTS)
def test_each_known_defect_is_said(name):
    if name.startswith("torchattacks"):
        pytest.importorskip("torchattacks")
    info = list_attacks(name.split(":")[0])[name]
    assert DEFECTS[name] in " ".join([info.reason, *info.notes])


def test_the_command_line_shows_them():
    shown = CliRunner().invoke(app, ["attacks", "art:AutoConjugateGradient"])
    assert shown.exit_code == 0
    assert DEFECTS["art:AutoConjugateGradient"] in " ".join(shown.output.split())
