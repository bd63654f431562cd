"""Certificates: bounds of a net's loss over balls of inputs.

Attacks show that a point is not robust; these bounds prove that it is.
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
