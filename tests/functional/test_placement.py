"""Everything that is promised to stay on the device does: nothing is left on the CPU, and no value is waited for.

Under `FakeTensorMode` tensors of device "cuda" have shapes, dtypes and a place, but no values, so that this needs no
such device, and whatever looks at a value raises. It shows placement; numbers are compared where there is a GPU.
"""

import pytest
import torch
from sharpness_cases import ALL
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from art_flat import functional as F
from art_flat.typing import DEFINITIONS, NORMS

N, D = 6, 32
STAYS = {
    **ALL,
    "cross_entropy": lambda z, phi, w, y: F.cross_entropy(z, y),
    "loss_change": lambda z, phi, w, y: F.loss_change(z, 2 * z, y),
    "margin": lambda z, phi, w, y: F.margin(z, y),
    "minimum_loss_increase_lower_bound": lambda z, phi, w, y: F.minimum_loss_increase_lower_bound(z, y),
    "feature_gradient_norm": lambda z, phi, w, y: F.feature_gradient_norm(z, w, y),
    "distances": lambda z, phi, w, y: torch.stack([*F.distances(phi, 2 * phi).values()]),
    **{f"distance {n}": lambda z, phi, w, y, n=n: F.distance(phi, 2 * phi, n) for n in NORMS},
    "round_to_levels": lambda z, phi, w, y: F.round_to_levels(
        phi, 2 * phi, levels=256, low=phi.amin(), high=phi.amax()
    ),
    **{f"project {n}": lambda z, phi, w, y, n=n: F.project(phi, 2 * phi, 0.5, n) for n in NORMS},
}
LOOKS = {
    "loss_increase_bound": lambda z, phi, w, y: F.loss_increase_bound(z, phi, w, y, radius=0.1),
    "feature_radius": lambda z, phi, w, y: F.feature_radius(z, phi, w, y, epsilon=0.1),
    "snap_into_balls": lambda z, phi, w, y: F.snap_into_balls(phi, 2 * phi, [("Linf", 0.1)]),
}
ELSEWHERE = {
    "constant_in_norm",
    "lipschitz_constant",
    "lipschitz_cost",
    "radius_in_input",
}  # of a whole model, once


def head(k, dtype):
    shapes = ((N, k), (N, D), (k, D))
    return (
        *(torch.empty(shape, dtype=dtype, device="cuda") for shape in shapes),
        torch.empty(N, dtype=torch.int64, device="cuda"),
    )


def call(function, tensors):
    return function(*tensors[: function.__code__.co_argcount - len(function.__defaults__ or ())])


@pytest.fixture(autouse=True)
def fake():
    with FakeTensorMode():
        yield


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("k", [1, 100])
@pytest.mark.parametrize("name", STAYS)
def test_stays_on_the_device(name, k, dtype):
    assert call(STAYS[name], head(k, dtype)).device.type == "cuda"


@pytest.mark.parametrize("name", LOOKS)
def test_what_looks_at_values_says_so(name):
    with pytest.raises(DataDependentOutputException):
        LOOKS[name](*head(10, torch.float32))
    assert "synchronises with the device" in " ".join(getattr(F, name).__doc__.split())


def test_every_function_is_in_one_of_the_lists():
    functions = {name for name in F.__all__ if callable(getattr(F, name)) and name[0].islower()}
    tried = {name.split()[0] for name in STAYS} - {f"log_{d}" for d in DEFINITIONS} - set(DEFINITIONS)
    assert tried | {"relative_sharpness", "log_relative_sharpness"} | set(LOOKS) | ELSEWHERE == functions
