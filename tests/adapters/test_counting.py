"""Counting passes holds on to nothing: a hook that kept its tensor would keep the graph of every forward pass."""

import gc
import weakref

import torch

import art_flat as af
from art_flat.models import as_classifier


def test_graphs_are_freed():
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    )
    net = af.adapt(as_classifier(model, input_shape=(4,), nb_classes=3))
    alive = []
    watch = model[3].register_forward_hook(lambda module, args, output: alive.append(weakref.ref(output)))
    try:
        with net.counting() as passes:
            for _ in range(3):
                x = torch.rand(5, 4, requires_grad=True)
                torch.autograd.grad(net.as_module()(x).sum(), x, retain_graph=True)
    finally:
        watch.remove()
    gc.collect()
    assert (passes.forwards, passes.backwards) == (15, 15)
    assert len(alive) == 3
    assert [ref() for ref in alive] == [None, None, None]
