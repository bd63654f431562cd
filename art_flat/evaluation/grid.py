"""The grid of an evaluation, cut into units that can be computed in any order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from .._utils.formatting import ball_text, norm_sign
from .._utils.hashing import content_hash
from .._utils.random import derive_seed
from ..attacks import Attack
from ..attacks.sequence import SequenceStep
from ..records.schema import SCHEMA_VERSION
from ..typing import Norm
from .ball_plan import BallPlan
from .radii import Deltas
from .settings import Settings
from .targets import Targets


class _OnShard:
    """What every unit has: the samples of one shard, and a key."""

    rows: slice
    key: str

    @property
    def unit_seed(self) -> int:
        """The seed of all random number generators in it, from the key alone: order and workers do not matter."""
        return derive_seed(self.key)

    @property
    def _sample_range(self) -> str:
        """Its samples, for messages."""
        return f"samples {self.rows.start}–{self.rows.stop - 1}"


@dataclass(frozen=True)
class CleanUnit(_OnShard):
    """The clean points of one model and shard: predictions, flatness and certificates in feature space.

    Attributes:
        model: Name of the model.
        rows: Positions of its samples in the data.
        key: Hash of everything that determines the unit's result.
    """

    model: str
    rows: slice
    key: str

    def __str__(self) -> str:
        return f"{self.model}: clean {self._sample_range}"


@dataclass(frozen=True)
class CertificateUnit(_OnShard):
    """Bounds over one ball around each sample of a shard, for one model.

    Attributes:
        model: Name of the model.
        norm: Norm of the balls.
        delta: Their radius in clip units.
        rows: Positions of its samples in the data.
        key: Hash of everything that determines the unit's result.
        depends_on: The unit of an attack; samples that it broke at the largest ε get no full bounds.
    """

    model: str
    norm: Norm
    delta: float
    rows: slice
    key: str
    depends_on: tuple[Unit, ...] = ()

    def __str__(self) -> str:
        return f"certificates of {self.model}, {ball_text(self.norm, self.delta)}, {self._sample_range}"


@dataclass(frozen=True)
class Unit(_OnShard):
    """One call of one attack on one shard.

    Attributes:
        model: Name of the model attacked.
        attack: The attack.
        norm: Norm of the ball, or the norm a minimum-norm attack minimises.
        delta: Radius in clip units; None for attacks without a fixed budget.
        seed: The seed of the run the unit belongs to.
        rows: Positions of its samples in the data.
        depends_on: Units of earlier steps of the same sequence; samples that they fooled are not attacked.
        key: Hash of everything that determines the unit's result.
    """

    model: str
    attack: Attack
    norm: Norm
    delta: float | None
    seed: int
    rows: slice
    key: str
    depends_on: tuple[Unit, ...] = ()

    def __str__(self) -> str:
        ball = norm_sign(self.norm) if self.delta is None else ball_text(self.norm, self.delta)
        return f"{self.attack.name} on {self.model}, {ball}, {self._sample_range}"

    def columns(self) -> dict[str, Any]:
        """The key columns of its rows in the `adversarial` table."""
        return {
            "model": self.model,
            "attack": self.attack.name,
            "attack_hash": self.attack.hash,
            "norm": self.norm,
            "delta": self.delta,
            "seed": self.seed,
            "source_model": self.model,
            "unit": self.key,
        }


AnyUnit = Unit | CleanUnit | CertificateUnit


@dataclass(frozen=True)
class Grid:
    """Every unit of a run.

    Attributes:
        clean: A unit per model and shard, in the order of the models and samples.
        attacked: A unit per model, shard, attack, norm and δ.
        certified: A unit per model with bounds over balls of inputs, shard, norm and δ.
    """

    clean: list[CleanUnit]
    attacked: list[Unit]
    certified: list[CertificateUnit]

    def part(self, which: tuple[int, int] | None) -> Grid:
        """A share of the units, selected by their keys, so that every share is a mixture; sequences stay together,
        and certificates with the attack that they depend on.

        Args:
            which: (i, n) for the i-th of n shares, 1 ≤ i ≤ n; None for all.

        Returns:
            The share; the n shares are a partition of the units.
        """
        if which is None:
            return self
        i, n = which
        clean = set(sorted(unit.key for unit in self.clean)[i - 1 :: n])
        first = set(sorted({_first(unit) for unit in self.after_clean})[i - 1 :: n])
        attacked = [u for u in self.attacked if _first(u) in first]
        certified = [u for u in self.certified if _first(u) in first]
        return Grid([u for u in self.clean if u.key in clean], attacked, certified)

    @property
    def after_clean(self) -> list[Unit | CertificateUnit]:
        """All units except the clean points, in the order of the levels."""
        return [*self.attacked, *self.certified]

    def levels(self) -> Iterator[Sequence[Unit | CertificateUnit]]:
        """The units of `after_clean` in lists such that the predecessors of a unit are in earlier lists."""
        for level in sorted({len(unit.depends_on) for unit in self.attacked}):
            yield [unit for unit in self.attacked if len(unit.depends_on) == level]
        if self.certified:
            yield self.certified


def make_grid(
    identities: Mapping[str, Mapping[str, str]],
    attacks: Sequence[Attack],
    deltas: Deltas,
    *,
    settings: Settings,
    shards: Sequence[tuple[slice, str]],
    weight: np.ndarray,
    certificates: tuple[Any, Mapping[str, BallPlan]] = (None, {}),
    targets: Targets | None = None,
) -> Grid:
    """Every unit of the grid of (model, attack, norm, δ, seed, shard).

    A fixed-budget attack is one unit per δ of each norm it supports, and so is every attack at a position in a
    sequence; one without a fixed budget is one unit per norm for all radii, and is read at every δ.

    Args:
        identities: Model name → everything that determines its predictions.
        attacks: The attacks.
        deltas: Norm → radii.
        settings: The options of the run, resolved.
        shards: Positions of the samples of each shard, and the hash of their inputs, labels and ids.
        weight: Sample weights, shape (n,).
        certificates: Settings that determine the Lipschitz constants; and model → its bounds over balls of inputs.
        targets: Target class of each sample; None for an untargeted run.

    Returns:
        The units, by model and shard; an attack that supports none of the norms has units
        that will be skipped with that reason.
    """
    scored = [[m, i] for m, i in identities.items()] if settings.transfer else []
    constants, balls = certificates
    options = [deltas, settings.seed, scored, [settings.estimate_gradients]]
    options += [] if settings.levels is None else ["levels", settings.levels]
    grid = Grid([], [], [])
    for model, identity in identities.items():
        for rows, content in shards:
            shared = [SCHEMA_VERSION, model, identity, content, settings.threads]
            key = _key("clean", *shared, content_hash(weight[rows]), deltas, constants)
            grid.clean.append(CleanUnit(model, rows, key))
            target = [] if targets is None else ["target", targets.key(rows)]
            attacked: list[Unit] = []
            chains: dict[tuple[str, Norm, float | None], tuple[Unit, ...]] = {}
            for attack, norm, delta in _cells(attacks, deltas):
                sequence = attack.sequence if isinstance(attack, SequenceStep) and delta is not None else None
                depends_on = () if sequence is None else chains.get((sequence, norm, delta), ())
                key = _key(*shared, attack.hash, norm, delta, *options, [u.key for u in depends_on], *target)
                unit = Unit(model, attack, norm, delta, settings.seed, rows, key, depends_on)
                attacked.append(unit)
                if sequence is not None:
                    chains[sequence, norm, delta] = (*depends_on, unit)
            grid.attacked.extend(attacked)
            if plan := balls.get(model):
                grid.certified.extend(_certificate_units(plan, attacked, deltas, settings, shared))
    return grid


def _certificate_units(
    plan: BallPlan, attacked: Sequence[Unit], deltas: Deltas, settings: Settings, shared: Sequence[Any]
) -> Iterator[CertificateUnit]:
    """The certificates of one model and shard, each after an attack if its full bounds depend on broken samples."""
    extremes = [] if plan.full is None else [settings.epsilons[0], settings.epsilons[-1]]
    for norm, delta in ((n, d) for n, radii in deltas.items() if n != "L0" for d in radii):
        depends_on = () if plan.full is None else _first_attack(attacked, norm, delta)
        keys = [unit.key for unit in depends_on]
        key = _key("certificates", *shared, norm, delta, astuple(plan), extremes, keys)
        yield CertificateUnit(attacked[0].model, norm, delta, attacked[0].rows, key, depends_on)


def _first_attack(attacked: Sequence[Unit], norm: Norm, delta: float) -> tuple[Unit, ...]:
    """The unit whose points show which samples are broken: of an attack that maximises the loss, if any."""
    found = [
        unit
        for unit in attacked
        if unit.norm == norm
        and unit.delta in {delta, None}
        and not unit.depends_on
        and norm in unit.attack.info.norms
    ]
    return tuple(sorted(found, key=lambda u: (u.delta is None, not u.attack.info.maximises_loss))[:1])


def _cells(attacks: Sequence[Attack], deltas: Deltas) -> Iterator[tuple[Attack, Norm, float | None]]:
    """Attack, norm and radius of every unit of a shard; steps of a sequence are in its order."""
    for attack in sorted(attacks, key=lambda a: a.position if isinstance(a, SequenceStep) else 0):
        supported = [n for n in deltas if n in attack.info.norms]
        per_radius = attack.info.budget == "fixed" or isinstance(attack, SequenceStep)
        for norm in supported or deltas:  # if it supports none, its records give the reason
            yield from (
                (attack, norm, delta) for delta in (deltas[norm] if supported and per_radius else [None])
            )


def _first(unit: Unit | CertificateUnit) -> str:
    """The key of the first unit of those that stay in one share."""
    return unit.depends_on[0].key if unit.depends_on else unit.key


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=dict).encode()).hexdigest()[:24]
