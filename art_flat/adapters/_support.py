"""Checks that an ART PyTorch classifier is supported, with a reason if it is not."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..errors import UnsupportedEstimatorError
from ._head import FoundHead
from ._relation import Form

_LOSSES: dict[type[nn.Module], tuple[bool, tuple[Form, ...]]] = {
    nn.CrossEntropyLoss: (False, ("logits", "softmax", "log_softmax")),
    nn.NLLLoss: (False, ("log_softmax",)),
    nn.BCEWithLogitsLoss: (True, ("logits",)),
    nn.BCELoss: (True, ("sigmoid",)),
}
"""Supported cross-entropies → whether the model has one output, and the valid functions after its head."""


def check_kind(model: nn.Module) -> None:
    """Reject a model whose layers cannot be hooked, or whose weights are not finite.

    Args:
        model: The model.

    Raises:
        UnsupportedEstimatorError: If the check fails.
    """
    name = type(model).__name__
    for part, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            where = f"its part {part!r}" if part else "it"
            raise UnsupportedEstimatorError(
                f"{name}: {where} is scripted or traced, which hides its layers and their state; give the classifier "
                "the plain module that was scripted"
            )
    for part, parameter in model.named_parameters():
        if parameter.device.type == "meta" or nn.parameter.is_lazy(parameter):
            continue
        if parameter.is_inference():
            raise UnsupportedEstimatorError(
                f"{name} has weights that were made in torch.inference_mode(), through which no gradient flows: "
                f"{part!r}; build or load the model outside of it"
            )
        bad = parameter.numel() - int(torch.isfinite(parameter.detach()).sum())
        if bad:
            raise UnsupportedEstimatorError(
                f"{name} has weights that are NaN or infinite: {bad} of {parameter.numel()} in {part!r}; did its "
                "training diverge, or is its file damaged?"
            )


def check_placement(model: nn.Module, device: torch.device) -> None:
    """Reject a model with uninitialised weights, or with weights on another device than the classifier's.

    Args:
        model: The model.
        device: The classifier's device.

    Raises:
        UnsupportedEstimatorError: If the check fails.
    """
    name = type(model).__name__
    tensors = [*model.named_parameters(), *model.named_buffers()]
    lazy = [n for n, t in tensors if nn.parameter.is_lazy(t)]
    if lazy:
        raise UnsupportedEstimatorError(
            f"{name} has lazy layers whose weights do not exist yet ({lazy[0]!r}); call the model on one "
            "batch before it is given to the classifier"
        )
    devices = sorted({str(t.device) for _, t in tensors})
    if "meta" in devices:
        raise UnsupportedEstimatorError(
            f"{name} has weights on the meta device, which have no values; load the weights before adapt()"
        )
    if len(devices) > 1:
        raise UnsupportedEstimatorError(
            f"{name} is spread over the devices {', '.join(devices)}; expected all of it on {device}"
        )
    if devices and devices[0] != str(device):
        raise UnsupportedEstimatorError(
            f"{name} is on {devices[0]}, the classifier computes on {device}; move it with "
            f'model.to("{device}"), or make the classifier anew with device_type="gpu" or "cpu"'
        )


def check_loss(loss: Any) -> None:
    """Reject a loss that is neither a softmax nor a logistic cross-entropy.

    Args:
        loss: The classifier's loss.

    Raises:
        UnsupportedEstimatorError: If the check fails.
    """
    if not isinstance(loss, tuple(_LOSSES)):
        raise UnsupportedEstimatorError(
            f"the classifier's loss is {type(loss).__name__}, expected one of "
            f"{', '.join(c.__name__ for c in _LOSSES)}: flatness here is that of the cross-entropy"
        )


def ignored_loss_options(loss: Any) -> tuple[str, ...]:
    """Options by which a loss differs from −log p_y, and which are ignored.

    Args:
        loss: A loss that `check_loss` accepts.

    Returns:
        Texts, such as `"label_smoothing=0.1"`.
    """
    weights = [n for n in ("weight", "pos_weight") if getattr(loss, n, None) is not None]
    smoothing = float(getattr(loss, "label_smoothing", 0.0))
    ignored = int(getattr(loss, "ignore_index", -1))
    return (
        *(f"{n}=…" for n in weights),
        *([f"label_smoothing={smoothing:g}"] if smoothing else []),
        *([f"ignore_index={ignored}"] if ignored >= 0 else []),
    )


def check_loss_fits(loss: nn.Module, found: FoundHead) -> None:
    """Reject a loss that is not the cross-entropy of the head's logits.

    Args:
        loss: A loss that `check_loss` accepts.
        found: The head of the model.

    Raises:
        UnsupportedEstimatorError: If the two do not fit.
    """
    (binary, forms), *_ = (known for cls, known in _LOSSES.items() if isinstance(loss, cls))
    k, form = found.layer.out_features, found.form
    if binary == (k == 1) and form in forms:
        return
    fitting = [c.__name__ for c, (one, allowed) in _LOSSES.items() if one == (k == 1) and form in allowed]
    raise UnsupportedEstimatorError(
        f"the classifier's loss is {type(loss).__name__}, but the model returns {form} with {k} "
        f"output{'s' if k > 1 else ''} per sample, for which the cross-entropy is {' or '.join(fitting)}"
    )
