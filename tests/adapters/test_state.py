"""What the guard keeps: tensors of any type and layout, in memory that attacks do not allocate from."""

import pytest
import torch
from torch import nn

from art_flat.adapters._state import preserved


class Special(torch.Tensor):
    """As libraries of quantised or distributed weights have them."""


TENSORS = {
    "float32": torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2),
    "channels last": torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last),
    "transposed": torch.linspace(0, 1, 6).reshape(2, 3).T,
    "bfloat16": torch.linspace(-1, 1, 7, dtype=torch.bfloat16),
    "float64 with NaN": torch.tensor([float("nan"), 1.0], dtype=torch.float64),
    "complex": torch.tensor([1 + 2j, complex("nan")]),
    "number": torch.tensor(3),
    "bool": torch.tensor([True, False, True]),
    "empty": torch.empty(0, 3),
    "sparse": torch.eye(3).to_sparse(),
    "of another class": torch.eye(2).as_subclass(Special),
    "none": None,
}


def holding(**tensors) -> nn.Module:
    model = nn.Linear(2, 2)
    for name, tensor in tensors.items():
        model.register_buffer(name, None if tensor is None else tensor.clone())
    return model


def same(a, b) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and torch.allclose(a.to_dense(), b.to_dense(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", TENSORS)
def test_an_untouched_tensor_is_not_named(name):
    model = holding(t=TENSORS[name])
    before = model.t
    with preserved(model) as changed:
        pass
    assert changed == []
    assert model.t is before


@pytest.mark.parametrize("name", TENSORS)
def test_a_replaced_tensor_comes_back(name):
    model = holding(t=TENSORS[name])
    before = model.t
    with preserved(model) as changed:
        model.t = torch.full((5,), 7.0)
    assert changed == ["buffers"]
    assert model.t is before
    assert same(model.t, TENSORS[name])


@pytest.mark.parametrize("name", [n for n in TENSORS if n not in {"none", "empty", "sparse"}])
def test_values_written_in_place_come_back(name):
    model = holding(t=TENSORS[name], neighbour=torch.arange(5.0))
    strides = model.t.stride()
    with preserved(model) as changed:
        model.t.data.logical_not_() if model.t.dtype == torch.bool else model.t.data.add_(2)
    assert changed == ["buffers"]
    assert type(model.t) is type(TENSORS[name])
    assert same(model.t, TENSORS[name])
    assert same(model.neighbour, torch.arange(5.0))
    assert model.t.stride() == strides


def test_data_of_another_shape_comes_back_with_its_strides():
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    weight, before = model.weight, model.weight.detach().clone()
    with preserved(model) as changed:
        model.weight.data = torch.zeros(2, 2)
    assert changed == ["weights"]
    assert model.weight is weight
    assert torch.equal(weight, before)
    assert weight.stride() == before.stride()
    assert weight.untyped_storage().nbytes() == before.nbytes  # not a view of all copies


def test_copies_are_not_allocated_among_activations():
    model = nn.Sequential(*(nn.Linear(256, 256) for _ in range(8)))
    weights = sum(p.nbytes for p in model.parameters())
    with (
        torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU],
            profile_memory=True,
            acc_events=True,  # without it, torch 2.10 warns
        ) as profile,
        preserved(model),
    ):
        pass
    allocated = sum(max(0, event.self_cpu_memory_usage) for event in profile.events())
    assert allocated < weights / 100
