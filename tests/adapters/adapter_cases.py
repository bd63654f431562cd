"""Every kind of estimator with its adapter."""

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier, SklearnClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch import nn

N, D = 9, 6


def torch_model(k=3, tail=()):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(D, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Dropout(0.3), nn.Linear(7, k), *tail
    )


def torch_classifier(k=3, loss=None, tail=(), **options):
    return PyTorchClassifier(
        torch_model(k, tail),
        loss or nn.CrossEntropyLoss(),
        (D,),
        max(k, 2),
        clip_values=(0, 1),
        device_type="cpu",
        **options,
    )


def sklearn_classifier(k=3):
    x = np.random.default_rng(1).random((50, D))
    y = ((x - 0.5) @ np.random.default_rng(2).normal(size=(D, k))).argmax(axis=1)
    return SklearnClassifier(LogisticRegression(C=50).fit(x, y), clip_values=(0, 1))


def mlp_classifier(k=3):
    x = np.random.default_rng(1).random((50, D))
    y = ((x - 0.5) @ np.random.default_rng(2).normal(size=(D, k))).argmax(axis=1)
    model = MLPClassifier((8, 5), activation="tanh", learning_rate_init=0.1, tol=1e9, random_state=0)
    return SklearnClassifier(model.fit(x, y), clip_values=(0, 1))


CASES = {
    "torch": torch_classifier,
    "torch, mean/std": lambda: torch_classifier(preprocessing=(0.4, 0.2)),
    "torch, softmax": lambda: torch_classifier(tail=[nn.Softmax(1)]),
    "torch, log-softmax": lambda: torch_classifier(loss=nn.NLLLoss(), tail=[nn.LogSoftmax(1)]),
    "torch, binary": lambda: torch_classifier(1, nn.BCEWithLogitsLoss()),
    "scikit-learn": sklearn_classifier,
    "scikit-learn, binary": lambda: sklearn_classifier(2),
    "scikit-learn, MLP": mlp_classifier,
    "scikit-learn, binary MLP": lambda: mlp_classifier(2),
}
