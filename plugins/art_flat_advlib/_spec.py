"""`AdvLibSpec`: the specification of one attack of adv-lib."""

from __future__ import annotations

import inspect
import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from art_flat.attacks import Problem
from art_flat.attacks.checks import CheckContext
from art_flat.typing import Norm

from ._library import library

ORDERS: Mapping[Norm, float] = {"Linf": math.inf, "L2": 2, "L1": 1, "L0": 0}
_SET_BY_CALL = {"model", "inputs", "labels", "targeted", "norm", "p", "distance", "callback"}


def spelled(name: str) -> str:
    """Return a parameter's name with Greek letters spelled out.

    >>> spelled("α_init")
    'alpha_init'
    """
    return "".join(c if c.isascii() else unicodedata.name(c).split()[-1].lower() for c in name)


@dataclass(frozen=True)
class AdvLibSpec:
    """Specification of one attack of adv-lib.

    Attributes:
        name: Its name here.
        function: Its function in `adv_lib.attacks`.
        norms: Norms of the ball or of the distance it minimises.
        targeted: Whether it takes a target class.
        norm_parameter: The function's parameter for the norm, or "".
        radius: The function's parameter that takes δ in [0, 1] units, or "" if it minimises the distance.
        which: Samples that it gets: `"all"`, or `"open"` for those not yet misclassified or in their target class.
        counts: Parameters that must be whole numbers of at least 1, or None where that is their default.
        hidden: Parameters that are not offered.
        defaults_here: Defaults that differ from the library's.
        checks: Functions that raise if the attack cannot run.
        settings: Maps a problem and the parameters to the arguments of the function that differ from them.
        repaired: Maps the function and the parameters to the function with a defect repaired.
        refusal: Reason why it can never be used.
        notes: As in `AttackInfo`.
    """

    name: str
    function: str
    norms: tuple[Norm, ...]
    targeted: bool = True
    norm_parameter: Literal["", "norm", "p", "distance"] = ""
    radius: str = ""
    which: Literal["all", "open"] = "open"
    counts: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    defaults_here: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Callable[[CheckContext], None], ...] = ()
    settings: Callable[[Problem, Mapping[str, Any]], Mapping[str, Any]] | None = None
    repaired: Callable[[Callable[..., Any], Mapping[str, Any]], Callable[..., Any]] | None = None
    refusal: str = ""
    notes: tuple[str, ...] = ()

    @property
    def budget(self) -> Literal["fixed", "minimum-norm"]:
        """Whether it takes δ or minimises the distance."""
        return "fixed" if self.radius else "minimum-norm"

    @property
    def library_names(self) -> Mapping[str, str]:
        """Name of a parameter here → its name in the library."""
        hidden = {*_SET_BY_CALL, self.radius, *self.hidden}
        parameters = inspect.signature(getattr(library, self.function)).parameters
        return {spelled(name): name for name in parameters if name not in hidden}

    def defaults(self) -> dict[str, Any]:
        """Return the parameters that a user may set, with their defaults."""
        parameters = inspect.signature(getattr(library, self.function)).parameters
        given = {name: parameters[theirs].default for name, theirs in self.library_names.items()}
        return {**given, **self.defaults_here}

    def all_notes(self) -> tuple[str, ...]:
        """Return the notes, including those that hold for all attacks of its kind."""
        greek = [name for name in self.library_names.values() if not name.isascii()]
        common = ["lengths among its parameters are in [0, 1] units, the clip range being 1"]
        if greek:
            common.append(f"the library's {', '.join(greek)}: Greek letters are spelled out")
        if not self.radius:
            common.append("does not use delta: it runs once, and its points are read at every delta")
        return (*self.notes, *common)
