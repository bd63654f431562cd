"""A small run with points and analyses that the tests of figures and of the page share."""

import pytest

import art_flat as af
from art_flat.cli.config import parse_config
from art_flat.cli.run import run_config
from art_flat.models import save_weights

DELTAS = {"Linf": [0.1, 0.2], "L2": [0.5]}
ATTACKS = ["art_flat:PGD(steps=5)", "art_flat:APGD(steps=5)", "art:FastGradientMethod"]


@pytest.fixture(scope="session")
def run_folder(digits, tmp_path_factory):
    """Results of the digits CNN with saved points, certificates and every analysis."""
    folder = tmp_path_factory.mktemp("report")
    save_weights(digits[0].estimator.model, folder / "net.safetensors")
    raw = {
        "attacks": ATTACKS,
        "deltas": DELTAS,
        "epsilons": [0.1, 1.0],
        "save_adversarial": True,
        "models": {"cnn": {"factory": "art_flat.models:digits_cnn", "weights": "net.safetensors"}},
        "data": {"name": "digits", "n": 24},
        "analyses": {
            "trajectories": ["art_flat:PGD(steps=5)"],
            "scale_sweep": ["art:FastGradientMethod"],
            "radial_profile": True,
            "n": 8,
        },
    }
    run_config(parse_config(raw), folder, folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def run(run_folder):
    return af.Results.load(run_folder)
