"""Certificates: bounds of a net's loss over balls of inputs.

Attacks show that a point is not robust; these bounds prove that it is.

## Certificates
`evaluate` certifies by default (`certify="auto"`) with bounds over balls of inputs: linear functions carried backward
through the net, cheap ones for every sample, and full ones where these leave an ε open, while they cost no more than
the attacks. `net.loss_increase_in_ball(x, y, delta=2/255, norm="Linf")` computes them alone. They need layers that
are affine, pooling, or activations such as ReLU and Tanh; findings name a model with others. For every model there
are the paper's bounds in feature space: with features that move by at most L δ, the loss rises by at most a bound
that needs no attack: sound, and for most samples of trained nets within a fraction of a per cent of the worst case
there. L comes from the layers (sound, but far from tight for deep nets) or from you (`evaluate(...,
lipschitz={"model": 3.2})`).
```python
from art_flat.functional import feature_radius, loss_increase_bound

out = net.outputs(x[:5])
labels = torch.as_tensor(y[:5])
loss_increase_bound(out.logits, out.features, net.head.weight, labels, radius=0.1)    # nats, (n,), sound
feature_radius(out.logits, out.features, net.head.weight, labels, epsilon=0.5)        # and its inverse
net.lipschitz("L2").value                                                             # feature units per clip unit
af.metrics.loss_change_robustness_bracket(net, x, y, delta=0.01, epsilon=0.1, attack="art_flat:PGD")  # both ends
```
"""

from ._certify import BallBounds as BallBounds
from ._certify import bounds_in_ball as bounds_in_ball
from ._certify import loss_increase_in_ball as loss_increase_in_ball
from ._graph import Graph as Graph
from ._kinds import CERTIFICATE_KINDS as CERTIFICATE_KINDS
from ._kinds import CertificateKind as CertificateKind
from ._operations import operations_of_bounds as operations_of_bounds
from ._tracing import trace as trace
from ._training import TrainableGraph as TrainableGraph
from ._training import worst_case_loss as worst_case_loss

__all__ = [
    "CERTIFICATE_KINDS",
    "BallBounds",
    "CertificateKind",
    "Graph",
    "TrainableGraph",
    "bounds_in_ball",
    "loss_increase_in_ball",
    "operations_of_bounds",
    "trace",
    "worst_case_loss",
]
