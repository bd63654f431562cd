"""Cheap settings for every attack of adv-lib."""

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("adv_lib") is None:
    pytest.skip("adv-lib is not installed", allow_module_level=True)

from art_flat.attacks import list_attacks, load_attack
from art_flat.testing import small_problem

INFOS = list_attacks("advlib")

DELTA = {"Linf": 0.3, "L2": 2.0, "L1": 10.0, "L0": 20}

# name: parameters; floor under the share of right images that must turn wrong, by norm, 0.8 if not given
CASES = {
    "DDN": ("steps=20", {}),
    "FMN": ("steps=30", {"L2": 0.4, "L1": 0.4}),
    "ALMA": ("num_steps=40, init_lr_distance=0.5", {}),
    "PDGD": ("num_steps=30", {}),
    "PDPGD": ("num_steps=40, proximal_operator=None", {"L1": 0.5, "L0": 0.5}),
    "TR": ("adaptive=True", {}),
    "VFGA": ("n_samples=4", {}),
    "SigmaZero": ("num_steps=50", {}),
    "SuperDeepFool": ("steps=4, df_steps=10", {}),
    "APGD": ("n_iter=8", {}),
    "APGDTargeted": ("n_iter=6, num_targets=3", {}),
}


def few(n=4):
    net, x, y = small_problem()
    right = np.flatnonzero(np.asarray(net.predict(x)) == y)[:n]
    return net, x[right], y[right]


def spec(name, norm=None):
    params = CASES[name][0]
    operator = "23" if norm == "L0" else "None"  # the operator of L0 itself changes whole pixels
    return f"advlib:{name}({params.replace('operator=None', f'operator={operator}')})"


def run(name, net, x, y, norm=None, **options):
    norm = norm or INFOS[f"advlib:{name}"].norms[0]
    return load_attack(spec(name, norm))(net, x, y, norm=norm, delta=DELTA[norm], **options)
