"""`Settings`: all options of a run except models, data, attacks and radii."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

import numpy as np

from .._utils.numbers import check_count, check_epsilons, check_levels, check_number, check_seed
from .._utils.validation import unique_keys
from ..errors import InputError, UnknownNameError
from ..records.run_folder import FREE_OPTIONS
from .targets import TARGET_RULES

DEFAULT_EPSILONS = (0.01, 0.1, 1.0)
"""Tolerated loss changes, nats."""

CERTIFY_OPTIONS = ("auto", "lipschitz", "crown", "branch", "none")
"""Values of `certify`; see `evaluate`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Settings:
    """The options of a run, validated and normalised; `evaluate` explains them.

    `evaluate` and `plan` take the same names as keywords, a configuration file too; these are the only defaults.

    Attributes:
        seed: Seed for all random number generators.
        shard_size: Samples attacked together, at least 1.
        transfer: Whether the points found on each model are scored on every model.
        estimate_gradients: Whether defences without a gradient are attacked through the estimate they declare.
        lipschitz: `"auto"`, `"spectral"`, None, or model → Lipschitz constant, features per clip unit.
        certify: `"auto"`, `"lipschitz"`, `"crown"`, `"branch"`, or None, with which `lipschitz` is None too.
        target: None, one of `TARGET_RULES`, or classes, (n,) or one-hot (n, k).
        levels: Number of values of an element, at least 2, to which points are rounded; None for no rounding.
        threads: Threads of each worker, at least 1; None for those of the results folder, else 1.
        epsilons: Tolerated loss changes of the summary, nats; sorted, without repetition.
        save_adversarial: Whether points are saved.
        n_jobs: Number of worker processes, as in joblib.
        time_limit: Seconds that an attack may take for one unit; None for no limit.
        part: (i, n) for the i-th of n shares of the units, or its text `"i/n"`; None for all.

    Raises:
        InputError: If a value is invalid.
        UnknownNameError: If `target` is a text but not a rule.

    >>> Settings(part="3/16", epsilons=[1, 0.1]).part
    (3, 16)
    >>> sorted(Settings(threads=1).identity())
    ['certify', 'estimate_gradients', 'lipschitz', 'seed', 'shard_size', 'threads', 'transfer']
    """

    seed: int = 0
    shard_size: int = 500
    transfer: bool = False
    estimate_gradients: bool = False
    lipschitz: str | Mapping[str, float] | None = "auto"
    certify: str | None = "auto"
    target: Any = None
    levels: int | None = None
    threads: int | None = None
    epsilons: Sequence[float] = DEFAULT_EPSILONS
    save_adversarial: bool = False
    n_jobs: int | None = None
    time_limit: float | None = None
    part: str | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        checked = {
            "seed": check_seed(self.seed),
            "shard_size": check_count(self.shard_size, "shard_size"),
            "transfer": _check_bool(self.transfer, "transfer"),
            "estimate_gradients": _check_bool(self.estimate_gradients, "estimate_gradients"),
            "lipschitz": None if self.certify in {None, "none"} else _check_lipschitz(self.lipschitz),
            "certify": _check_certify(self.certify),
            "target": _check_target(self.target),
            "levels": check_levels(self.levels),
            "threads": None if self.threads is None else check_count(self.threads, "threads"),
            "epsilons": check_epsilons(self.epsilons),
            "save_adversarial": _check_bool(self.save_adversarial, "save_adversarial"),
            "n_jobs": _check_n_jobs(self.n_jobs),
            "time_limit": _check_time_limit(self.time_limit),
            "part": _check_part(self.part),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def share(self) -> tuple[int, int] | None:
        """`part` as a pair."""
        assert not isinstance(self.part, str)
        return self.part

    def identity(self) -> dict[str, Any]:
        """The options that determine the records, as stored in `config.toml`.

        Returns:
            Name → value; without `target` in an untargeted run, and `levels` where points are not rounded.
        """
        decisive = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in FREE_OPTIONS}
        for option in ("target", "levels"):
            if getattr(self, option) is None:
                del decisive[option]
        certificates = {"lipschitz": self.lipschitz, "certify": self.certify}
        return decisive | {name: "none" if value is None else value for name, value in certificates.items()}


def _check_bool(value: Any, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"`{name}` must be True or False, got {value!r}")
    return bool(value)


def _check_lipschitz(lipschitz: Any) -> str | Mapping[str, float] | None:
    if lipschitz is None or (isinstance(lipschitz, str) and lipschitz in {"auto", "spectral", "none"}):
        return None if lipschitz in {None, "none"} else str(lipschitz)
    if not isinstance(lipschitz, Mapping):
        raise InputError(
            f"`lipschitz` must be 'auto', 'spectral', None, or map models to constants, got {lipschitz!r}"
        )
    unit = "features per clip unit"
    named = unique_keys(lipschitz, str, "lipschitz")
    return {m: check_number(v, f"lipschitz[{m!r}]", unit, above=0.0) for m, v in named.items()}


def _check_certify(certify: Any) -> str | None:
    if certify is not None and certify not in CERTIFY_OPTIONS:
        raise UnknownNameError("certify", certify, CERTIFY_OPTIONS)
    return None if certify in {None, "none"} else str(certify)


def _check_target(target: Any) -> Any:
    if isinstance(target, str) and target not in TARGET_RULES:
        raise UnknownNameError("target", target, TARGET_RULES)
    return target


def _check_n_jobs(n_jobs: Any) -> int | None:
    if n_jobs is None:
        return None
    if not isinstance(n_jobs, Integral) or isinstance(n_jobs, bool) or n_jobs == 0:
        raise InputError(f"`n_jobs` must be a whole number other than 0, or None, got {n_jobs!r}")
    return int(n_jobs)


def _check_time_limit(time_limit: Any) -> float | None:
    return None if time_limit is None else check_number(time_limit, "time_limit", "seconds", above=0.0)


def _check_part(part: Any) -> tuple[int, int] | None:
    if part is None:
        return None
    if isinstance(part, str) and re.fullmatch(r"\d{1,9}/\d{1,9}", part):
        part = tuple(map(int, part.split("/")))
    try:
        number, shares = (check_count(p, "part") for p in part)
    except (TypeError, ValueError):  # includes InputError
        number, shares = 1, 0
    if number > shares:
        raise InputError(f"`part` must look like '3/16' (third of 16), got {part!r}")
    return number, shares
