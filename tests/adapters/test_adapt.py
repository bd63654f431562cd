"""`adapt`: identities of estimators, the adapter that is chosen, and what is refused."""

import numpy as np
import pytest
import torch
from adapter_cases import CASES, D, sklearn_classifier, torch_classifier
from torch import nn

import art_flat as af
from art_flat.adapters import Adapter, Head, Outputs
from art_flat.errors import InputError


@pytest.fixture(params=CASES)
def net(request):
    return af.adapt(CASES[request.param]())


class TestIdentity:
    def test_is_text_and_repeats(self, net):
        assert all(isinstance(v, str) for v in net.identity().values())
        assert net.identity() == af.adapt(net.estimator).identity()
        assert len(net.identity()["sha256"]) == 64

    def test_equal_classifiers_are_equal(self):
        assert af.adapt(torch_classifier()).identity() == af.adapt(torch_classifier()).identity()

    def test_every_difference_shows(self):
        estimators = [
            torch_classifier(),
            torch_classifier(preprocessing=(0.4, 0.2)),
            torch_classifier(preprocessing=None),
        ]
        estimators.append(torch_classifier())
        estimators[-1]._clip_values = np.array([0, 2], dtype=np.float32)
        estimators.append(torch_classifier())
        estimators[-1].model[4].bias.data[0] += 1e-6
        estimators.append(torch_classifier())
        estimators[-1].model[1].running_mean[0] = 1e-6
        estimators += [sklearn_classifier(3), sklearn_classifier(2)]
        assert len({af.adapt(e).identity()["sha256"] for e in estimators}) == len(estimators)

    def test_names(self):
        identity = af.adapt(torch_classifier()).identity()
        assert identity["estimator"] == "art.estimators.classification.pytorch.PyTorchClassifier"
        assert identity["model"] == "torch.nn.modules.container.Sequential"


class TestAdapt:
    def test_adapter_passes_through(self, net):
        assert af.adapt(net) is net
        assert af.adapt(net, head=net.head.name) is net

    def test_adapter_with_another_head(self, net):
        with pytest.raises(InputError, match="pass its estimator to use head='other'"):
            af.adapt(net, head="other")

    def test_repr_is_one_line(self, net):
        assert "\n" not in repr(net)
        assert f"input_shape=({D},)" in repr(net)

    def test_own_estimator(self):
        class Mine:
            pass

        class MyAdapter(Adapter):
            head = Head.from_layer(torch.eye(2), None, "mine")

            def __init__(self, estimator, head=None):
                super().__init__(
                    estimator,
                    nb_classes=2,
                    input_shape=(2,),
                    clip_values=None,
                    device=torch.device("cpu"),
                    dtype=torch.float64,
                )

            def forward(self, x):
                return Outputs(x.double(), x.double())

            def as_module(self, *, unit_range=False, estimate_gradients=False):
                return nn.Identity()

            def identity(self):
                return {"sha256": "0"}

        af.adapt.register(Mine)(MyAdapter)
        net = af.adapt(Mine())
        np.testing.assert_allclose(net.relative_sharpness([[0.0, 0.0], [3.0, 3.0]]), [0.0, 2 * 18 * 0.5])
        assert list(net.predict(torch.tensor([[1.0, 2.0]]))) == [1]
        with net.guard(), net.counting() as passes:
            assert np.isnan(passes.forwards)
