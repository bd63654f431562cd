"""`CheckContext`: what a plugin's checks look at before an attack runs, and how they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from .._utils.formatting import counted
from ..adapters.base import Adapter
from ..errors import AttackNotUsableError
from ..typing import Norm


@dataclass(frozen=True)
class CheckContext:
    """Context of the checks in a plugin's `Attack.check`.

    Attributes:
        name: Name of the attack, for messages.
        net: The classifier.
        norm: Norm of the ball.
        params: The attack's parameters, including defaults.

    Example:
        >>> from art_flat.testing import example_classifier
        >>> context = CheckContext("mine:Attack", example_classifier()[0], "L2", {})
        >>> context.require_classes(2, "the margin")
        >>> context.require_classes(99, "its loss")
        Traceback (most recent call last):
        ...
        art_flat.errors.AttackNotUsableError: mine:Attack cannot be used: its loss needs at least 99 classes, ...
    """

    name: str
    net: Adapter
    norm: Norm
    params: Mapping[str, Any]

    @property
    def image(self) -> tuple[int, ...]:
        """Channels, height and width; empty if the inputs are not images."""
        return self.net.input_shape if len(self.net.input_shape) == 3 else ()

    def refuse(self, reason: str) -> NoReturn:
        """Raise an error with the reason why the attack cannot run.

        Raises:
            AttackNotUsableError: Always.
        """
        raise AttackNotUsableError(f"{self.name} cannot be used: {reason}")

    def require_classes(self, least: int, what: str) -> None:
        """Require at least `least` classes, which `what` needs."""
        if self.net.nb_classes < least:
            required = counted(least, "class")
            self.refuse(f"{what} needs at least {required}, the classifier has {self.net.nb_classes}")

    def require_images(self) -> None:
        """Require inputs of shape (channels, height, width)."""
        if not self.image:
            self.refuse(
                f"it needs images (channels, height, width), the classifier takes {self.net.input_shape}"
            )
