"""A tiny model with a few samples, and attacks that do what no attack should; importable by worker processes."""

import contextlib
import os
import time

import numpy as np
import pandas as pd
import torch
from torch import nn

import art_flat as af
from art_flat.attacks import as_attack
from art_flat.evaluation._data import check_data
from art_flat.evaluation.run import adapt_models, check_run
from art_flat.evaluation.settings import Settings
from art_flat.models import as_classifier

N = 24


def classifier():
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        net = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return as_classifier(net, input_shape=(6,), nb_classes=3)


def small_run(**changes):
    """Arguments of `evaluate`: one tiny model, three attacks, two norms, 16 units of 6 samples."""
    net = af.adapt(classifier())
    x = torch.rand(N, 6, generator=torch.Generator().manual_seed(1)).numpy()
    y = np.asarray(net.predict(x))
    y[::5] = (y[::5] + 1) % 3
    return {
        "models": {"tiny": net},
        "x": x,
        "y": y,
        "attacks": ["art_flat:PGD(steps=3)", "art_flat:GaussianNoise", "torchattacks:FGSM"],
        "deltas": {"Linf": [0.1], "L2": [0.2]},
        "shard_size": 6,
        "certify": "lipschitz",
        **changes,
    }


def grid_of(models, x, y, *, attacks, deltas, **options):
    """The units of a run, without computing any."""
    nets = adapt_models(models)
    data = check_data(nets, x, y, None, None)
    return check_run(nets, data, attacks=attacks, deltas=deltas, settings=Settings(**options)).grid


def same(one, other, **tolerance):
    """Both results hold the same records, bit for bit unless told; only the time that it took may differ."""
    for table in ("models", "clean", "certified", "adversarial"):
        frames = [getattr(r, table).drop(columns="seconds", errors="ignore") for r in (one, other)]
        pd.testing.assert_frame_equal(*frames, check_dtype=False, **(tolerance or {"check_exact": True}))


def forever(module, x, y):
    while True:
        time.sleep(0.01)


def stubborn(module, x, y):
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(0.01)


def deaf(module, x, y):
    """Sleeps in one call that no exception set from another thread can end."""
    import signal

    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    time.sleep(600)


def deadly(module, x, y):
    os._exit(9)


def slowly(module, x, y):
    time.sleep(0.2)
    return 1 - x


def attack(function, **options):
    return as_attack(function, norms=["Linf"], **options)
