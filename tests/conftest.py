"""How the tests are run, and small nets that several of them share.

What is heavy is imported where it is used: the process that only distributes tests to others needs none of it.
"""

import importlib.util
import os
import signal
from pathlib import Path

import joblib
import numpy as np
import pytest

MOST_PROCESSES = 4
"""Each takes 1 GB and seconds to import PyTorch and ART, more than further processes would save."""

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # threads of several processes on the same cores wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")  # and the nets are tiny


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Processes for `-n auto`: one per core for folders; 0 for single files, which run in the first process."""
    folders = all(Path(argument).is_dir() for argument in config.args)
    return min(joblib.cpu_count(), MOST_PROCESSES) if folders else 0


def pytest_collection_modifyitems(items):
    """Skip the cases of a library that is not installed."""
    modules = {"foolbox": "foolbox", "torchattacks": "torchattacks", "advlib": "adv_lib"}
    missing = [name for name, module in modules.items() if importlib.util.find_spec(module) is None]
    for item in items:
        for name in missing:
            if f"{name}:" in item.name:
                item.add_marker(pytest.mark.skip(reason=f"{name} is not installed"))


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Processes that tests start can be interrupted, also where a shell started pytest in the background."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def digits():
    """An adapted, trained digits CNN with 24 test images and labels."""
    from art_flat.testing import small_problem

    return small_problem()


@pytest.fixture(autouse=True)
def no_gradients_left(request):
    """ART's own attacks fill the gradients of the model that the tests share; the next test is not to find them."""
    net = request.getfixturevalue("digits")[0] if "digits" in request.fixturenames else None
    yield
    if net is not None:
        net.estimator.model.zero_grad(set_to_none=True)


@pytest.fixture
def linear():
    """Build an adapted linear classifier from a weight (k, d); inputs are vectors in [0, 1]."""
    import torch
    from torch import nn

    import art_flat as af
    from art_flat.models import as_classifier

    def build(weight, bias=None, clip_values=(0.0, 1.0)):
        weight = torch.as_tensor(np.asarray(weight), dtype=torch.float32)
        k, d = weight.shape
        model = nn.Sequential(nn.Flatten(), nn.Linear(d, k))
        with torch.no_grad():
            model[1].weight.copy_(weight)
            model[1].bias.copy_(torch.zeros(k) if bias is None else torch.as_tensor(bias))
        return af.adapt(as_classifier(model, input_shape=(d,), nb_classes=k, clip_values=clip_values))

    return build
