"""Lipschitz constants of a net or of its feature extractor: ‖φ(x) − φ(x′)‖₂ ≤ L ‖x − x′‖.

| `kind`        | L                                                       | sound           |
|---------------|---------------------------------------------------------|-----------------|
| `"spectral"`  | from the norms of the layers, carried through the graph | yes             |
| `"given"`     | a user's constant                                       | if correct      |
| `"empirical"` | the largest Jacobian norm at given points               | no: an estimate |

Constants hold for the net in real arithmetic, over all inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import fx, nn

from .._utils.modes import outside_inference_mode, require_eval_mode
from .._utils.numbers import check_number
from .._utils.traced import record
from .._utils.validation import check_inputs, check_norm
from ..errors import InputError, UnknownNameError
from ..typing import Norm
from ._jacobian import largest_jacobian
from ._operator_norm import constant_in_norm as constant_in_norm
from ._propagation import LayerBound, Propagation

LipschitzKind = Literal["spectral", "given", "empirical"]
"""Kinds of Lipschitz constants."""
LIPSCHITZ_KINDS: tuple[LipschitzKind, ...] = get_args(LipschitzKind)

_UNIT = "feature units per input unit"


@dataclass(frozen=True)
class LipschitzBound:
    """A Lipschitz constant and its derivation."""

    value: float
    """L, feature units (L2) per input unit in `norm`."""
    kind: LipschitzKind
    norm: Norm
    sound: bool
    """Whether L holds for all inputs; an estimate does not certify. A given constant is not verified."""
    layers: tuple[LayerBound, ...] = ()
    """For `"spectral"`, the factors in the order of the graph."""


@outside_inference_mode
def lipschitz_constant(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    head: str | None = None,
    norm: Norm = "L2",
    kind: LipschitzKind = "spectral",
    value: float | None = None,
    points: torch.Tensor | None = None,
    notify: Callable[[int, int], None] | None = None,
) -> LipschitzBound:
    """L with ‖φ(x) − φ(x′)‖₂ ≤ L ‖x − x′‖ for all inputs x, x′.

    Supported are linear layers, convolutions, batch normalisation, activations, pooling, reshaping, padding,
    dropout, and sums and concatenations of branches, as modules or functions. L is the product of the layers'
    norms: exact for linear layers, for convolutions that on the torus that contains them; never from power
    iteration, which approaches norms from below. Bounds over balls of inputs (`art_flat.certification`) are
    much tighter where they apply.

    Args:
        module: The net, in evaluation mode.
        input_shape: Shape of one input, without the axis of the samples.
        head: Name of the module whose input φ is, usually the last linear layer; None for the output of
            the net.
        norm: Norm of the inputs: `"L2"`, `"Linf"` or `"L1"`; that of φ is always L2.
        kind: Kind of constant, see above.
        value: For `"given"`: L > 0.
        notify: For `"spectral"`: called with the number of processed layers and functions, and their total.
        points: For `"empirical"`: points of the Jacobians, shape (n, *input_shape).

    Returns:
        The constant with its factors.

    Raises:
        InputError: If the net is in training mode, the norm is L0, or an argument of `kind` is missing,
            superfluous or invalid.
        UnknownNameError: If the kind, norm or head is unknown.
        UnsupportedLayerError: If the net has an unsupported layer or function, or cannot be
            traced by `torch.fx`; the error names it.

    >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 3)).eval()
    >>> _ = nn.init.constant_(net[0].weight, 0.5)
    >>> bound = lipschitz_constant(net, (2,), head="2")
    >>> round(bound.value, 6), bound.sound, bound.layers[0].name
    (1.0, True, '0')
    """
    if kind not in LIPSCHITZ_KINDS:
        raise UnknownNameError("kind of Lipschitz constant", kind, LIPSCHITZ_KINDS)
    norm = check_norm(norm)
    if norm == "L0":
        raise InputError(
            "no net has a Lipschitz constant in L0: changing one element by any amount costs the same. Use "
            'norm="L2": δ elements within a range r lie at most √δ · r apart'
        )
    for name, argument, of in (("value", value, "given"), ("points", points, "empirical")):
        if (argument is not None) != (kind == of):
            raise InputError(f'`{name}` is for kind="{of}" and needed there; the kind is {kind!r}')
    if kind == "given":
        return LipschitzBound(check_number(value, "value", _UNIT, above=0.0), kind, norm, sound=True)
    require_eval_mode(module)
    if points is not None:
        points = check_inputs(points, input_shape=input_shape, name="points")
        return LipschitzBound(largest_jacobian(module, points, head, norm), kind, norm, sound=False)
    propagation = Propagation(_trace(module, head), norm, notify)
    first = next(
        (t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()), torch.zeros(())
    )
    sample = torch.rand(1, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        constant = propagation.constant(sample.to(device=first.device, dtype=first.dtype))
    return LipschitzBound(constant, kind, norm, sound=True, layers=tuple(propagation.table))


def radius_in_input(feature_radius: torch.Tensor, lipschitz: LipschitzBound) -> torch.Tensor:
    """Radius in input space within which features move by at most t: t / L, rounded down.

    Args:
        feature_radius: t ≥ 0, shape (n,), feature units.
        lipschitz: The constant L; its norm is that of the radius.

    Returns:
        The radius, float64, shape (n,), input units; infinite where t is, or where L is 0 and t > 0.

    Raises:
        InputError: If the constant is an estimate, negative or NaN.

    >>> radius_in_input(torch.tensor([1.0]), LipschitzBound(4.0, "given", "L2", sound=True))
    tensor([0.2500], dtype=torch.float64)
    """
    if not lipschitz.sound:
        raise InputError(
            f"the {lipschitz.kind} Lipschitz constant {lipschitz.value:g} is an estimate from below, by which no "
            'radius is certified; use kind="spectral", or "given" for a known constant'
        )
    check_number(lipschitz.value, "lipschitz", _UNIT, at_least=0.0)
    t = feature_radius.to(torch.float64)
    radius = t / lipschitz.value
    down = torch.nextafter(radius, torch.zeros_like(radius))
    return torch.where(torch.isinf(radius), radius, down).masked_fill(t == 0, 0.0)


def _trace(module: nn.Module, head: str | None) -> fx.GraphModule:
    root, graph = record(module, 'Pass a known constant: kind="given", value=...', _Tracer(head))
    if head is not None:
        _end_before(graph, head)
    return fx.GraphModule(root, graph)


class _Tracer(fx.Tracer):
    def __init__(self, head: str | None) -> None:
        super().__init__()
        self.head = head

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name == self.head or super().is_leaf_module(m, module_qualified_name)


def _end_before(graph: fx.Graph, head: str) -> None:
    nodes = list(graph.nodes)
    calls = [n for n in nodes if n.op == "call_module"]
    found = [n for n in calls if n.target == head]
    if not found:
        raise UnknownNameError(
            "head", head, [str(n.target) for n in calls], "It is a module that the net calls."
        )
    last = found[-1]
    features = (*last.args, *last.kwargs.values())[0]
    for n in reversed(nodes[nodes.index(last) :]):
        graph.erase_node(n)
    graph.output(features)
