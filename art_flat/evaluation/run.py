"""`Run`: a validated evaluation with its models, data, attacks, radii and units."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .._utils.numbers import check_count
from .._utils.validation import unique_keys
from ..adapters import Adapter, adapt
from ..attacks import Attack
from ..attacks.suite import load_attacks_for
from ..errors import InputError
from ..functional import LipschitzBound, LipschitzKind
from ..records.run_folder import FREE_OPTIONS
from ..records.store import Store
from ..typing import NORMS, Norm
from ._data import Data, read_through
from .ball_certificates import ball_plans
from .ball_plan import BallPlan
from .certificate_budget import too_costly
from .grid import Grid, make_grid
from .radii import Deltas, check_deltas, norms_of
from .settings import Settings
from .targets import Targets, check_targets
from .worker import WorkerContext


@dataclass(frozen=True)
class Run:
    """A validated run.

    Attributes:
        nets: Model name → adapter.
        identities: Model name → everything that determines its predictions.
        data: The data.
        attacks: The attacks.
        left_out: Attacks of suites that support none of the norms.
        deltas: Norm → radii, clip units.
        settings: The options, with everything resolved that depends on models, data and results folder.
        targets: Target class of each sample; None for an untargeted run.
        uncertified: Models whose constants exceed the default cost limit → reason.
        balls: Model → its bounds over balls of inputs.
        unbounded: Models without such bounds, or with intervals alone → reason.
        limited: Models whose full bounds are limited in number → reason.
        config: The content of `config.toml`: everything that determines the records, and the user's configuration.
        grid: Its units.
    """

    nets: Mapping[str, Adapter]
    identities: Mapping[str, Mapping[str, str]]
    data: Data
    attacks: Sequence[Attack]
    left_out: Sequence[Attack]
    deltas: Deltas
    settings: Settings
    targets: Targets | None
    uncertified: Mapping[str, str]
    balls: Mapping[str, BallPlan]
    unbounded: Mapping[str, str]
    limited: Mapping[str, str]
    config: Mapping[str, Any]
    grid: Grid

    @property
    def id(self) -> str:
        """Hash of everything that determines the records."""
        decisive = {k: v for k, v in self.config.items() if k not in FREE_OPTIONS}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def threads(self) -> int:
        """Threads of each worker and of this process."""
        assert self.settings.threads is not None
        return self.settings.threads

    def context(self, constants: Mapping[str, Mapping[Norm, LipschitzBound]]) -> WorkerContext:
        """The options of a worker."""
        return WorkerContext(self.settings, self.deltas, constants, self.targets, self.balls)

    def known_constants(self, entry: Any) -> dict[Norm, LipschitzBound] | None:
        """Lipschitz constants of a model from an entry of the manifest, or None."""
        if not isinstance(entry, Mapping):
            return None
        kind: LipschitzKind = "spectral" if isinstance(self.settings.lipschitz, str) else "given"
        values: Mapping[Norm, float] = entry["lipschitz"]
        return {n: LipschitzBound(value, kind, n, sound=True) for n, value in values.items()}

    def given_constant(self, model: str) -> float | None:
        """The user's Lipschitz constant of a model, or None."""
        lipschitz = self.settings.lipschitz
        return lipschitz.get(model) if isinstance(lipschitz, Mapping) else None

    def certified_norms(self, model: str) -> Deltas:
        """Norm → radii at which a model is certified; empty without certificates."""
        has_constant = isinstance(self.settings.lipschitz, str) or self.given_constant(model) is not None
        return self.deltas if has_constant and model not in self.uncertified else {}

    def facts(self) -> dict[str, Any]:
        """The entries of the manifest, without the environment."""
        return {
            "run": self.id,
            "seed": self.settings.seed,
            "threads": self.threads,
            "target": None if self.targets is None else self.targets.rule,
            "levels": self.settings.levels,
            "n_samples": len(self.data.x),
            "class_names": list(self.config["data"].get("classes", [])),
            "clean_units": [unit.key for unit in self.grid.clean],
            "certificate_units": [unit.key for unit in self.grid.certified],
            "n_units": len(self.grid.after_clean),
            "epsilons": list(self.settings.epsilons),
            "deltas": {n: list(d) for n, d in self.deltas.items()},
            "models": {m: dict(i) for m, i in self.identities.items()},
            "attacks": [
                {
                    "name": a.name,
                    "short_name": a.short_name,
                    "hash": a.hash,
                    "library_version": a.info.version,
                    "norms": list(a.info.norms),
                    "budget": a.info.budget,
                    "access": a.info.access,
                    "maximises_loss": a.info.maximises_loss and self.targets is None,
                    "usability": a.info.usability,
                    "notes": list(a.info.notes),
                    "run_in": [n for n in self.deltas if n in a.info.norms],
                    "steps": _steps(a, self.deltas),
                }
                for a in self.attacks
            ],
            "left_out": [{"name": a.name, "norms": list(a.info.norms)} for a in self.left_out],
        }


def _steps(attack: Attack, deltas: Deltas) -> list[dict[str, Any]]:
    """The steps of an attack at each radius, in clip units; empty without fixed steps."""
    values = [(n, d, attack.fixed_steps(d)) for n in deltas if n in attack.info.norms for d in deltas[n]]
    return [
        {"norm": n, "delta": d, "size": s.size, "number": s.number} for n, d, s in values if s is not None
    ]


def adapt_models(models: Mapping[str, Any] | Any) -> dict[str, Adapter]:
    """Models by name, adapted; a single one is called `"model"`.

    Args:
        models: An ART estimator, an adapter, or a mapping name → either.

    Returns:
        Model name → adapter.

    Raises:
        InputError: If there is no model.
    """
    named = models if isinstance(models, Mapping) else {"model": models}
    if not named:
        raise InputError(
            'no model was given; pass an ART classifier or a mapping such as {"standard": classifier}'
        )
    return {name: adapt(model) for name, model in unique_keys(named, str, "models").items()}


def check_run(
    nets: Mapping[str, Adapter],
    data: Data,
    *,
    attacks: str | Attack | Iterable[str | Attack],
    deltas: Any,
    settings: Settings,
    out: str | os.PathLike[str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Run:
    """Validate the arguments of `evaluate` together, and make the units of the run.

    Args:
        nets: The models.
        data: The data; its values are validated and hashed here.
        attacks: Suites, names and attacks.
        deltas: Radii, see `evaluate`.
        settings: The options.
        out: Results folder, whose number of threads is used if `settings` has none.
        config: The user's configuration.

    Returns:
        The run.

    Raises:
        InputError: If arguments are invalid, alone or together.
    """
    norms = norms_of(deltas)
    loaded, left_out = load_attacks_for(attacks, NORMS if norms is None else norms)
    radii = check_deltas(deltas, loaded)
    _check_norms([*loaded, *left_out], radii)
    _check_models_with_constants(settings, nets)
    targets = check_targets(settings.target, data.y, min(net.nb_classes for net in nets.values()))
    shards, content = read_through(nets, data, settings.shard_size)
    uncertified = too_costly(nets, loaded, radii, len(data.x)) if settings.lipschitz == "auto" else {}
    settings = _resolved_settings(settings, out, targets, certify_all=not uncertified)
    balls, unbounded, limited = ball_plans(nets, settings.certify, loaded, radii, data.x)
    identities = {name: net.identity() for name, net in nets.items()}
    grid = make_grid(
        identities, loaded, radii, settings=settings, shards=shards, weight=data.weight, targets=targets,
        certificates=(["spectral", sorted(uncertified)] if uncertified else settings.lipschitz, balls),
    )  # fmt: skip
    decisive = _decisive_config(settings, radii, loaded, identities, {"n": len(data.x), "hash": content})
    return Run(
        nets=nets, identities=identities, data=data, attacks=loaded, left_out=left_out, deltas=radii,
        settings=settings, targets=targets, uncertified=uncertified, balls=balls, unbounded=unbounded,
        limited=limited, grid=grid, config=_with_given(decisive, config or {}),
    )  # fmt: skip


def _check_norms(attacks: Sequence[Attack], deltas: Deltas) -> None:
    if not any(norm in attack.info.norms for attack in attacks for norm in deltas):
        supported = {norm for attack in attacks for norm in attack.info.norms}
        raise InputError(
            f"none of the attacks supports a norm of `deltas` ({', '.join(deltas)}); "
            f"they support {', '.join(norm for norm in NORMS if norm in supported)}"
        )


def _resolved_settings(
    settings: Settings, out: str | os.PathLike[str] | None, targets: Targets | None, certify_all: bool
) -> Settings:
    return replace(
        settings,
        threads=_threads(settings, out),
        lipschitz="spectral" if settings.lipschitz == "auto" and certify_all else settings.lipschitz,
        target=None if targets is None else targets.as_config(),
    )


def _decisive_config(
    settings: Settings,
    deltas: Deltas,
    attacks: Sequence[Attack],
    identities: Mapping[str, Mapping[str, str]],
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that determines the records, and the epsilons, as `config.toml` has it."""
    parts = ("sha256", "code", "layers")
    return {
        **settings.identity(),
        "deltas": {norm: list(radii) for norm, radii in deltas.items()},
        "epsilons": list(settings.epsilons),
        "attacks": [a.name for a in attacks],
        "versions": {_library(a): a.info.version for a in attacks},
        "models": {m: {k: i[k] for k in parts if k in i} for m, i in identities.items()},
        "data": data,
    }


def _check_models_with_constants(settings: Settings, nets: Mapping[str, Adapter]) -> None:
    if isinstance(settings.lipschitz, Mapping) and not settings.lipschitz.keys() <= nets.keys():
        raise InputError(
            f"`lipschitz` must be 'auto', 'spectral', None, or map models ({', '.join(nets)}) to constants, "
            f"got {settings.lipschitz!r}"
        )


def _threads(settings: Settings, out: str | os.PathLike[str] | None) -> int:
    if settings.threads is not None:
        return settings.threads
    if out is None or not (Path(out) / "config.toml").is_file():
        return 1
    return check_count(Store(out).read_config().get("threads", 1), "threads")


def _library(attack: Attack) -> str:
    name = attack.info.name
    return name if name.startswith("own:") else name.split(":")[0]


def _with_given(resolved: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `config.toml`: everything that determines the records, and the user's configuration."""
    models = {m: {**given.get("models", {}).get(m, {}), **i} for m, i in resolved["models"].items()}
    data = {**given.get("data", {}), **resolved["data"]}
    free = {k: v for k, v in given.items() if k not in resolved}
    return {**free, **resolved, "models": models, "data": data}
