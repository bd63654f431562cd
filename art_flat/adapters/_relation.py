"""The relation between the model's output and the head's: equal, shifted, scaled or softmax; inferred from values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..functional._logits import two_classes

Form = Literal["logits", "log_softmax", "softmax", "sigmoid"]
"""The function after a model's scaled head."""

_FUNCTIONS: dict[Form, Callable[[Tensor], Tensor]] = {
    "logits": lambda z: z,
    "log_softmax": lambda z: z.log_softmax(dim=1),
    "softmax": lambda z: z.softmax(dim=1),
    "sigmoid": torch.sigmoid,
}


def find_relation(z: Tensor, output: Tensor) -> tuple[Form, float] | None:
    """Form and factor T > 0 with output = form(T z), or None.

    Args:
        z: Output of the linear layer, shape (n, k).
        output: Output of the model, shape (n, k).

    Returns:
        The form and T, which is exactly 1 where that fits; None if no form fits.

    >>> z = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    >>> find_relation(z, z.softmax(dim=1)), find_relation(z, z.relu())
    (('softmax', 1.0), None)
    """
    eps = max(torch.finfo(z.dtype).eps, torch.finfo(output.dtype).eps)
    z, output = z.double(), output.double()
    forms: tuple[Form, ...] = (
        ("logits", "sigmoid") if z.shape[1] == 1 else ("logits", "log_softmax", "softmax")
    )
    for form in forms:
        for scale in (1.0, _scale(z, output, form)):
            if scale > 0 and _equal(scale * z, output, form, eps):
                return form, scale
    return None


def _scale(z: Tensor, output: Tensor, form: Form) -> float:
    # Least-squares T for one form; nan where undetermined
    if form == "logits":
        return float((output * z).sum() / (z * z).sum())
    if form == "sigmoid":
        rest = torch.where(
            output < 0.99, 1 - output, 0.0
        )  # of an output near 1, few digits of 1 − p are left
        z, log_p = two_classes(z), torch.cat([rest, output], dim=1).log()
    else:
        log_p = output if form == "log_softmax" else output.log()
    # log p = T z + a constant per row; only where p has not underflowed
    usable = (log_p > -14).double()
    count = usable.sum(dim=1, keepdim=True).clamp(min=1)
    log_p = torch.where(usable > 0, log_p, 0.0)
    centred = (z - (z * usable).sum(dim=1, keepdim=True) / count) * usable
    return float((centred * log_p).sum() / (centred * centred).sum())


def _equal(logits: Tensor, output: Tensor, form: Form, eps: float) -> bool:
    # Equality up to rounding; the error of an exponential grows with the logits
    expected = _FUNCTIONS[form](logits)
    size = expected.abs() if form == "logits" else 1 + logits.abs().amax(dim=1, keepdim=True)
    return bool(((expected - output).abs() <= 8 * eps * size + 1e-30).all())
