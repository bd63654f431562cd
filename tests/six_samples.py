"""Six samples of three classes, and runs of a cheap attack on them, for tests of arguments."""

import numpy as np

import art_flat as af

X = np.random.default_rng(0).random((6, 4), dtype=np.float32)
Y = np.arange(6) % 3
ATTACK = "art_flat:PGD(steps=1)"


def evaluated(models, **options):
    return af.evaluate(
        models, X, Y, **{"attacks": ATTACK, "deltas": {"Linf": [0.1]}, "certify": None, **options}
    )
