"""Certified Lipschitz constants of an adapted model, or the reasons for missing ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .. import functional as F
from .._utils.formatting import norm_sign
from ..errors import ArtFlatError
from ..typing import Norm
from .base import Adapter


def lipschitz_constants(
    net: Adapter,
    norms: Mapping[Norm, Any],
    given: float | None,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[dict[Norm, F.LipschitzBound], dict[str, str]]:
    """Sound Lipschitz constants of the feature extractor, and the reasons for missing ones.

    Args:
        net: The adapted model.
        norms: Norms of the balls; there is no constant for L0.
        given: The user's constant from L2 in clip units to features; derived from the layers if None.
        notify: Called with the progress of the derivation.

    Returns:
        Norm → constant, and norm → reason.
    """
    constants: dict[Norm, F.LipschitzBound] = {}
    missing: dict[str, str] = {}
    for norm in norms:
        try:
            if given is None:
                constants[norm] = net.lipschitz(norm, notify=_layer_notes(norm, notify))
            else:
                value = F.constant_in_norm(float(given), norm, math.prod(net.input_shape))
                constants[norm] = net.lipschitz(norm, kind="given", value=value)
        except ArtFlatError as error:
            missing[norm] = str(error)
    return constants, missing


def _layer_notes(norm: Norm, notify: Callable[[str], None]) -> Callable[[int, int], None]:
    text = f"Lipschitz constant in {norm_sign(norm)}"
    notify(text)
    return lambda done, total: notify(f"{text}, layer {done} of {total}")
