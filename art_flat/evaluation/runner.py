"""Run the grid: every model, attack, norm and radius once; everything else is read from the records."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from .._arrays import to_numpy
from .._checks import check_epsilon, check_inputs, check_labels, check_number, radius_words
from .._errors import ArtFlatError, AttackNotUsableError, InputError, UnsupportedEstimatorError
from ..adapters import Adapter, adapt
from ..adapters.base import Outputs
from ..attacks import Attack, load_attacks
from ._chain import left_over
from .certificates import certified_rows, lipschitz_constants
from .grid import Deltas, Unit, check_deltas, make_units
from .points import CLEAN_POINTS, Points, Saved
from .records import adversarial_rows, clean_rows, content_hash, make_frame, missing_rows, model_rows
from .results import Results
from .store import Store, environment

DEFAULT_EPSILONS = (0.01, 0.1, 1.0)
_OPTIONS = ("seed", "shard_size", "transfer", "estimate_gradients")


class Progress(NamedTuple):
    """Where a run is; given to the `progress` callback before the first unit and after each."""

    done: int
    total: int
    failed: int
    unit: Unit | None
    """The unit that was just finished."""


@dataclass(frozen=True)
class _Run:
    """Everything that determines the records, checked; n samples."""

    nets: Mapping[str, Adapter]
    identities: Mapping[str, Mapping[str, str]]
    x: np.ndarray
    y: torch.Tensor
    samples: np.ndarray
    weight: np.ndarray
    attacks: Sequence[Attack]
    deltas: Deltas
    epsilons: Sequence[float]
    lipschitz: str | Mapping[str, float] | None
    seed: int
    shard_size: int
    transfer: bool
    estimate_gradients: bool


@radius_words
def evaluate(
    models: Mapping[str, Any] | Any,
    x: Any,
    y: Any,
    *,
    deltas: Any,
    attacks: str | Attack | Iterable[str | Attack] = "fast",
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    epsilons: Sequence[float] = DEFAULT_EPSILONS,
    samples: Any = None,
    weight: Any = None,
    shard_size: int = 500,
    transfer: bool = False,
    estimate_gradients: bool = False,
    lipschitz: str | Mapping[str, float] | None = "spectral",
    save_adversarial: bool = False,
    progress: Callable[[Progress], None] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Results:
    """Attack every model with every attack at every radius and record each sample.

    Args:
        models: An ART estimator, an adapted one, or a mapping name → either.
        x: Clean inputs, shape (n, ...), inside every model's clip range.
        y: True labels, indices (n,) or one-hot (n, k).
        deltas: Radii in clip units, `{norm: [δ, ...]}`; a plain list where all attacks have the same one norm.
        attacks: Suites, names and attacks; see `art_flat.attacks.load_attacks`.
        out: Results folder. Units found in it are not computed again; without it everything stays in memory.
        seed: Decides everything random, together with each unit's content.
        epsilons: Tolerated loss changes in nats that the summary shows unless told otherwise.
        samples: Sample ids, whole numbers, shape (n,); 0…n−1 if None.
        weight: Sample weights for the scores, shape (n,); 1 if None.
        shard_size: How many samples are attacked together; part of what determines the records.
        transfer: Score the points found on each model on every other model too.
        estimate_gradients: Attack through preprocessing defences that have no gradient by the estimate they declare.
        lipschitz: What certifies: `"spectral"` derives each feature extractor's Lipschitz constant from its layers
            (seconds for small nets, half a minute for a ResNet-18), a mapping model → constant (from L2 in clip
            units to features) takes yours, None leaves the certified side out.
        save_adversarial: Keep the points themselves, for `Results.adversarial_points` and `Results.clean_points`.
        progress: Called before the first unit and after each.
        config: What to keep in `config.toml` beside what is resolved here.

    Returns:
        The records of the run.

    Raises:
        InputError: If an argument cannot be used.
        StoreError: If `out` holds another run.
    """
    named = models if isinstance(models, Mapping) else {"model": models}
    if not named:
        raise InputError(
            'no model was given; pass an ART classifier or a mapping such as {"standard": classifier}'
        )
    nets = {str(name): adapt(model) for name, model in named.items()}
    found = load_attacks(attacks)
    if not isinstance(shard_size, int) or shard_size < 1:
        raise InputError(f"`shard_size` must be a whole number of at least 1, got {shard_size!r}")
    inputs, labels, ids, weights = _check_data(nets, x, y, samples, weight)
    run = _Run(
        nets=nets,
        identities={name: net.identity() for name, net in nets.items()},
        x=inputs,
        y=labels,
        samples=ids,
        weight=weights,
        attacks=found,
        deltas=check_deltas(deltas, found),
        epsilons=sorted({check_epsilon(e) for e in epsilons}),
        lipschitz=_check_lipschitz(lipschitz, nets),
        seed=int(seed),
        shard_size=shard_size,
        transfer=transfer,
        estimate_gradients=estimate_gradients,
    )
    units = make_units(
        run.identities, found, run.deltas, seed=run.seed, x=inputs, y=to_numpy(labels), samples=ids,
        shard_size=shard_size, scored_on=list(nets) if transfer else [], options=[estimate_gradients],
    )  # fmt: skip
    if not units:
        raise InputError(f"none of the attacks supports a norm of `deltas` ({', '.join(run.deltas)})")
    store = None if out is None else Store(out)
    if store is not None:
        store.begin(_resolved(run, config or {}))
    clean = {name: net.outputs(inputs) for name, net in nets.items()}
    tables, certificates = _tables(run, clean)
    facts = {**_facts(run), "certificates": certificates}
    if store is not None:
        store.write_environment(facts)
        for table, frame in tables.items():
            store.write_table(table, frame)
    saved: dict[str, Saved] = {}
    keep = None
    if save_adversarial:
        keep = saved.__setitem__ if store is None else store.write_points
        keep(CLEAN_POINTS, (run.x, run.samples))
    frames = _run_units(run, units, clean, store, progress, keep)
    points = Points.in_memory(saved) if store is None else Points(store.read_points)
    tables["adversarial"] = pd.concat(frames, ignore_index=True)
    results = Results(tables, facts, out, points if save_adversarial else None)
    if store is not None:
        store.write_summary(results.summary())
    return results


def _run_units(
    run: _Run,
    units: Sequence[Unit],
    clean: Mapping[str, Outputs],
    store: Store | None,
    progress: Callable[[Progress], None] | None,
    keep: Callable[[str, Saved], None] | None,
) -> list[pd.DataFrame]:
    frames: dict[str, pd.DataFrame] = {}
    failed = 0

    def finish(unit: Unit) -> pd.DataFrame:
        if unit.key in frames:
            return frames[unit.key]
        frame = store.read_unit(unit.key) if store is not None else None
        if store is not None and keep is not None and not store.has_points(unit.key):
            frame = None
        if frame is None or (frame["status"] == "failed").any():
            rows = np.arange(len(run.x))[unit.rows]
            if unit.after:
                label = to_numpy(run.y)
                right = to_numpy(clean[unit.model].logits.argmax(dim=1)) == label
                rows = left_over(unit, map(finish, unit.after), run.samples, label, right)
            frame, found = _run_unit(run, unit, rows, clean)
            if keep is not None and found is not None:
                keep(unit.key, (found, run.samples[rows]))
            if store is not None:
                store.write_unit(unit.key, frame)
        return frames.setdefault(unit.key, frame)

    if progress is not None:
        progress(Progress(0, len(units), 0, None))
    for done, unit in enumerate(units, 1):
        failed += bool((finish(unit)["status"] == "failed").any())
        if progress is not None:
            progress(Progress(done, len(units), failed, unit))
    return [frame for frame in frames.values() if len(frame)]


def _run_unit(
    run: _Run, unit: Unit, rows: np.ndarray, clean: Mapping[str, Outputs]
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """The adversarial rows of one unit, and its points; an attack that raises gives rows that say so, and none."""
    points: np.ndarray | None = None
    if not len(rows):
        return make_frame("adversarial", {}, 0), run.x[:0]
    labels = run.y[rows]
    targets = list(run.nets) if run.transfer else [unit.model]
    keys = {m: {**unit.columns(), "model": m, "sample": run.samples[rows]} for m in targets}
    before = {m: Outputs(*(t[rows] for t in clean[m])) for m in targets}
    started = time.perf_counter()
    try:
        result = unit.attack(
            run.nets[unit.model], run.x[rows], labels, delta=unit.delta, norm=unit.norm,
            seed=unit.own_seed, clean=before[unit.model], estimate_gradients=run.estimate_gradients,
        )  # fmt: skip
    except Exception as error:
        refused = isinstance(error, (AttackNotUsableError, UnsupportedEstimatorError))
        text = str(error) if isinstance(error, ArtFlatError) else f"{type(error).__name__}: {error}"
        lost = ("skipped" if refused else "failed", text)
        seconds = time.perf_counter() - started
        frames = [missing_rows(*lost, keys[m], len(labels), seconds) for m in targets]
    else:
        points = to_numpy(result.x)
        after = {m: result.outputs if m == unit.model else run.nets[m].outputs(result.x) for m in targets}
        frames = [
            adversarial_rows(run.nets[m], labels, before[m], result, after[m], keys[m]) for m in targets
        ]
    return pd.concat(frames, ignore_index=True), points


def _check_data(
    nets: Mapping[str, Adapter], x: Any, y: Any, samples: Any, weight: Any
) -> tuple[np.ndarray, torch.Tensor, np.ndarray, np.ndarray]:
    for net in nets.values():
        inputs = check_inputs(x, input_shape=net.input_shape, clip_values=net.clip_values)
        labels = check_labels(y, len(inputs), net.nb_classes).cpu()
    n = len(inputs)
    ids = np.arange(n) if samples is None else to_numpy(samples)
    if ids.shape != (n,) or ids.dtype.kind not in "iu" or len(np.unique(ids)) != n:
        raise InputError(f"`samples` must be {n} different whole numbers, one id per sample")
    w = np.ones(n) if weight is None else to_numpy(weight).astype(np.float64)
    if w.shape != (n,) or not np.isfinite(w).all() or (w < 0).any() or not w.sum() > 0:
        raise InputError(f"`weight` must be {n} finite numbers of at least 0, not all 0")
    return to_numpy(inputs), labels, ids.astype(np.int64), w


def _check_lipschitz(given: Any, nets: Mapping[str, Adapter]) -> str | Mapping[str, float] | None:
    if given is None or given == "spectral":
        return str(given) if given else None
    if not isinstance(given, Mapping) or not given.keys() <= nets.keys():
        raise InputError(
            f"`lipschitz` must be 'spectral', None, or map models ({', '.join(nets)}) to constants, got {given!r}"
        )
    unit = "features per clip unit"
    return {m: check_number(v, f"lipschitz[{m!r}]", unit, above=0.0) for m, v in given.items()}


def _tables(run: _Run, clean: Mapping[str, Outputs]) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """The tables that need no attack, and what is to be said of each model's certificates."""
    hashes = np.array([content_hash(xi) for xi in run.x], dtype=object)
    models, rows, certified, said = [], [], [make_frame("certified", {}, 0)], {}
    for name, net in run.nets.items():
        given = run.lipschitz.get(name) if isinstance(run.lipschitz, Mapping) else None
        wanted = run.deltas if run.lipschitz == "spectral" or given is not None else {}
        constants, missing = lipschitz_constants(net, wanted, given)
        said[name] = {"lipschitz": {n: c.value for n, c in constants.items()}, "missing": missing}
        models.append(model_rows(name, net, constants.get("L2")))
        rows.append(clean_rows(name, net, clean[name], run.y, run.samples, hashes, run.weight))
        certified.append(certified_rows(name, net, clean[name], run.y, run.samples, run.deltas, constants))
    parts = {"models": models, "clean": rows, "certified": [f for f in certified if len(f)] or certified[:1]}
    return {table: pd.concat(frames, ignore_index=True) for table, frames in parts.items()}, said


def _facts(run: _Run) -> dict[str, Any]:
    return {
        **environment(),
        "seed": run.seed,
        "threads": torch.get_num_threads(),
        "n_samples": len(run.x),
        "epsilons": list(run.epsilons),
        "deltas": {n: list(d) for n, d in run.deltas.items()},
        "models": {m: dict(i) for m, i in run.identities.items()},
        "attacks": [
            {
                "name": a.name,
                "hash": a.hash,
                "library_version": a.info.version,
                "norms": list(a.info.norms),
                "budget": a.info.budget,
                "access": a.info.access,
                "maximises_loss": a.info.maximises_loss,
                "usability": a.info.usability,
                "notes": list(a.info.notes),
                "run_in": [n for n in run.deltas if n in a.info.norms],
                "steps": _steps(a, run.deltas),
            }
            for a in run.attacks
        ],
    }


def _steps(attack: Attack, deltas: Deltas) -> list[dict[str, Any]]:
    """The steps that an attack walked at each radius, in clip units; empty where it has none of a fixed size."""
    found = [(n, d, attack.fixed_steps(d)) for n in deltas if n in attack.info.norms for d in deltas[n]]
    return [{"norm": n, "delta": d, "size": s.size, "number": s.number} for n, d, s in found if s is not None]


def _resolved(run: _Run, given: Mapping[str, Any]) -> dict[str, Any]:
    """What `config.toml` says: everything that determines the records, beside what the user wrote."""
    written = {m: given.get("models", {}).get(m, {}) for m in run.nets}
    resolved = {
        **{option: getattr(run, option) for option in _OPTIONS},
        "deltas": {n: list(d) for n, d in run.deltas.items()},
        "epsilons": list(run.epsilons),
        "attacks": [a.name for a in run.attacks],
        "lipschitz": "none" if run.lipschitz is None else run.lipschitz,
        "models": {m: {**written[m], "sha256": run.identities[m]["sha256"]} for m in run.nets},
        "data": {
            **given.get("data", {}),
            "n": len(run.x),
            "hash": content_hash(run.x, run.y, run.samples, run.weight),
        },
    }
    return {**{k: v for k, v in given.items() if k not in resolved}, **resolved}
