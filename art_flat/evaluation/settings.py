"""What a run is: arguments checked, and everything that determines its records."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._utils.validation import check_count, check_epsilon, check_number
from ..adapters import Adapter, adapt
from ..attacks import Attack, load_attacks
from ..errors import InputError
from ..functional import LipschitzBound, LipschitzKind
from ..records.store import FREE_OPTIONS, Store
from ..typing import Norm
from ._data import check_data, inputs_and_labels, read_through
from .certificate_budget import too_costly
from .grid import Deltas, Grid, check_deltas, make_grid
from .targets import Targets, check_targets
from .worker import Data, Options

DEFAULT_EPSILONS = (0.01, 0.1, 1.0)
_OPTIONS = ("seed", "shard_size", "transfer", "estimate_gradients", "threads")


@dataclass(frozen=True)
class Run:
    """A checked run; the words are those of `evaluate`.

    Attributes:
        uncertified: Models whose constants would cost too much for a default → reason.
        config: Everything that determines the records, and what the user wrote, as `config.toml` says it.
        grid: Its units.
    """

    nets: Mapping[str, Adapter]
    identities: Mapping[str, Mapping[str, str]]
    data: Data
    attacks: Sequence[Attack]
    deltas: Deltas
    epsilons: Sequence[float]
    lipschitz: str | Mapping[str, float] | None
    uncertified: Mapping[str, str]
    seed: int
    shard_size: int
    transfer: bool
    estimate_gradients: bool
    threads: int
    time_limit: float | None
    part: tuple[int, int] | None
    targets: Targets | None
    config: Mapping[str, Any]
    grid: Grid

    @property
    def id(self) -> str:
        """Hash of all that determines the records."""
        decisive = {k: v for k, v in self.config.items() if k not in FREE_OPTIONS}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:24]

    def options(self, constants: Mapping[str, Mapping[Norm, LipschitzBound]]) -> Options:
        """What a worker is told."""
        return Options(
            self.deltas, constants, self.transfer, self.estimate_gradients, self.threads, self.time_limit,
            self.targets,
        )  # fmt: skip

    def known_constants(self, said: Any) -> dict[Norm, LipschitzBound] | None:
        """Lipschitz constants of a model as a manifest of this run has them, so that none is derived twice."""
        if not isinstance(said, Mapping):
            return None
        kind: LipschitzKind = "spectral" if self.lipschitz == "spectral" else "given"
        found: Mapping[Norm, float] = said["lipschitz"]
        return {n: LipschitzBound(value, kind, n, sound=True) for n, value in found.items()}

    def certified_norms(self, model: str) -> Deltas:
        """The radii at which a model is to be certified, by norm; empty where nothing certifies it."""
        has_constant = self.lipschitz == "spectral" or (
            isinstance(self.lipschitz, Mapping) and model in self.lipschitz
        )
        return self.deltas if has_constant and model not in self.uncertified else {}

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the run, beside the environment."""
        return {
            "run": self.id,
            "seed": self.seed,
            "threads": self.threads,
            "target": None if self.targets is None else self.targets.rule,
            "n_samples": len(self.data.x),
            "class_names": list(self.config["data"].get("classes", [])),
            "clean_units": [unit.key for unit in self.grid.clean],
            "n_units": len(self.grid.attacked),
            "epsilons": list(self.epsilons),
            "deltas": {n: list(d) for n, d in self.deltas.items()},
            "models": {m: dict(i) for m, i in self.identities.items()},
            "attacks": [
                {
                    "name": a.name,
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
        }


def _steps(attack: Attack, deltas: Deltas) -> list[dict[str, Any]]:
    """The steps that an attack walked at each radius, in clip units; empty where it has none of a fixed size."""
    found = [(n, d, attack.fixed_steps(d)) for n in deltas if n in attack.info.norms for d in deltas[n]]
    return [{"norm": n, "delta": d, "size": s.size, "number": s.number} for n, d, s in found if s is not None]


def check_run(
    models: Mapping[str, Any] | Any,
    x: Any,
    y: Any = None,
    *,
    deltas: Any,
    attacks: str | Attack | Iterable[str | Attack],
    seed: int = 0,
    epsilons: Sequence[float] = DEFAULT_EPSILONS,
    samples: Any = None,
    weight: Any = None,
    shard_size: int = 500,
    transfer: bool = False,
    estimate_gradients: bool = False,
    lipschitz: str | Mapping[str, float] | None = "auto",
    threads: int | None = None,
    time_limit: float | None = None,
    part: str | tuple[int, int] | None = None,
    target: Any = None,
    out: str | os.PathLike[str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Run:
    """Check the arguments of `evaluate`, which says what they are.

    Args:
        models: See `evaluate`, here and below.
        x: Clean inputs.
        y: Labels.
        deltas: Radii.
        attacks: Attacks.
        seed: Seed.
        epsilons: Tolerated loss changes.
        samples: Sample ids.
        weight: Sample weights.
        shard_size: Samples attacked together.
        transfer: Whether points are scored on every model.
        estimate_gradients: Whether estimates of gradients will do.
        lipschitz: What certifies.
        threads: Threads of each worker.
        time_limit: Seconds per unit.
        part: Which share of the units.
        target: Which class samples are pushed towards.
        out: Results folder.
        config: What the user wrote.

    Returns:
        The run.

    Raises:
        InputError: If an argument cannot be used.
    """
    named = models if isinstance(models, Mapping) else {"model": models}
    if not named:
        raise InputError(
            'no model was given; pass an ART classifier or a mapping such as {"standard": classifier}'
        )
    nets = {str(name): adapt(model) for name, model in named.items()}
    found = load_attacks(attacks)
    shard_size = check_count(shard_size, "shard_size")
    data = check_data(nets, *inputs_and_labels(x, y), samples, weight)
    shards, content = read_through(nets, data, shard_size)
    targets = check_targets(target, data.y, min(net.nb_classes for net in nets.values()))
    threads = _check_threads(threads, out)
    if time_limit is not None:
        time_limit = check_number(time_limit, "time_limit", "seconds", above=0.0)
    radii = check_deltas(deltas, found)
    given = _check_lipschitz(lipschitz, nets)
    uncertified = too_costly(nets, found, radii, len(data.x)) if given == "auto" else {}
    given = "spectral" if given == "auto" else given
    identities = {name: net.identity() for name, net in nets.items()}
    grid = make_grid(
        identities, found, radii, seed=int(seed), shards=shards, weight=data.weight, threads=threads,
        scored_on=list(nets) if transfer else [], options=[estimate_gradients], targets=targets,
        certificates=[given, sorted(uncertified)] if uncertified else given,
    )  # fmt: skip
    if not any(n in a.info.norms for a in found for n in radii):
        raise InputError(f"none of the attacks supports a norm of `deltas` ({', '.join(radii)})")
    levels = sorted({check_epsilon(e) for e in epsilons})
    options = {
        "seed": int(seed),
        "shard_size": shard_size,
        "transfer": transfer,
        "estimate_gradients": estimate_gradients,
        "threads": threads,
    }
    decided = {
        **options,
        "deltas": {n: list(d) for n, d in radii.items()},
        "epsilons": levels,
        "attacks": [a.name for a in found],
        "versions": {_library(a): a.info.version for a in found},
        "lipschitz": "none" if given is None else "auto" if uncertified else given,
        **({} if targets is None else {"target": targets.as_config()}),
    }
    return Run(
        nets=nets, identities=identities, data=data, attacks=found, deltas=radii, epsilons=levels, lipschitz=given,
        uncertified=uncertified,
        time_limit=time_limit, part=_check_part(part), targets=targets, grid=grid,
        config=_resolved(decided, identities, len(data.x), content, config or {}),
        **options,  # type: ignore[arg-type]
    )  # fmt: skip


def _check_lipschitz(given: Any, nets: Mapping[str, Adapter]) -> str | Mapping[str, float] | None:
    if given is None or (isinstance(given, str) and given in {"auto", "spectral", "none"}):
        return None if given in {None, "none"} else str(given)
    if not isinstance(given, Mapping) or not given.keys() <= nets.keys():
        raise InputError(
            f"`lipschitz` must be 'auto', 'spectral', None, or map models ({', '.join(nets)}) to constants, "
            f"got {given!r}"
        )
    unit = "features per clip unit"
    return {m: check_number(v, f"lipschitz[{m!r}]", unit, above=0.0) for m, v in given.items()}


def _check_threads(threads: Any, out: str | os.PathLike[str] | None) -> int:
    if threads is None and out is not None and (Path(out) / "config.toml").is_file():
        threads = Store(out).read_config().get("threads")
    if threads is None:
        threads = 1
    return check_count(threads, "threads")


def _check_part(part: Any) -> tuple[int, int] | None:
    if part is None:
        return None
    if isinstance(part, str) and re.fullmatch(r"\d{1,9}/\d{1,9}", part):
        part = tuple(map(int, part.split("/")))
    try:
        number, shares = (check_count(p, "part") for p in part)
    except (TypeError, ValueError):  # InputError among them
        number, shares = 1, 0
    if number > shares:
        raise InputError(f"`part` must be such as '3/16', the third of 16 shares, got {part!r}")
    return number, shares


def _library(attack: Attack) -> str:
    name = attack.info.name
    return name if name.startswith("own:") else name.split(":")[0]


def _resolved(
    decided: Mapping[str, Any],
    identities: Mapping[str, Mapping[str, str]],
    n: int,
    content: str,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """What `config.toml` says: everything that determines the records, beside what the user wrote."""
    resolved = {
        **decided,
        "models": {
            m: {
                **given.get("models", {}).get(m, {}),
                **{k: i[k] for k in ("sha256", "code", "layers") if k in i},
            }
            for m, i in identities.items()
        },
        "data": {
            **given.get("data", {}),
            "n": n,
            "hash": content,
        },
    }
    return {**{k: v for k, v in given.items() if k not in resolved}, **resolved}
