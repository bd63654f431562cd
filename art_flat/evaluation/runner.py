"""Run the grid: every model, attack, norm and radius once; everything else is read from the records."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from .._arrays import to_numpy
from .._checks import check_epsilon, check_inputs, check_labels, radius_words
from .._errors import ArtFlatError, AttackNotUsableError, InputError
from ..adapters import Adapter, adapt
from ..adapters.base import Outputs
from ..attacks import Attack, load_attacks
from .grid import Deltas, Unit, check_deltas, make_units
from .records import adversarial_rows, clean_rows, content_hash, make_frame, missing_rows, model_rows
from .results import Results
from .store import Store, environment

DEFAULT_EPSILONS = (0.01, 0.1, 1.0)


class Progress(NamedTuple):
    """Where a run is; given to the `progress` callback before the first unit and after each."""

    done: int
    total: int
    failed: int
    unit: Unit | None
    """The unit that was just finished."""


class _Data(NamedTuple):
    x: np.ndarray
    y: torch.Tensor
    samples: np.ndarray
    weight: np.ndarray


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
        progress: Called before the first unit and after each.
        config: What to keep in `config.toml` beside what is resolved here.

    Returns:
        The records of the run.

    Raises:
        InputError: If an argument cannot be used.
        StoreError: If `out` holds another run.
    """
    named = models if isinstance(models, Mapping) else {"model": models}
    nets = {str(name): adapt(model) for name, model in named.items()}
    if not nets:
        raise InputError(
            'no model was given; pass an ART classifier or a mapping such as {"standard": classifier}'
        )
    found = load_attacks(attacks)
    radii = check_deltas(deltas, found)
    levels = sorted({check_epsilon(e) for e in epsilons})
    if not isinstance(shard_size, int) or shard_size < 1:
        raise InputError(f"`shard_size` must be a whole number of at least 1, got {shard_size!r}")
    data = _check_data(nets, x, y, samples, weight)
    identities = {name: net.identity() for name, net in nets.items()}
    units = make_units(
        identities, found, radii, seed=int(seed), x=data.x, y=to_numpy(data.y), samples=data.samples,
        shard_size=shard_size, scored_on=list(nets) if transfer else [],
    )  # fmt: skip
    if not units:
        raise InputError(f"none of the attacks supports a norm of `deltas` ({', '.join(radii)})")
    store = None if out is None else Store(out)
    facts = _facts(found, radii, levels, int(seed), identities, data)
    if store is not None:
        store.begin(
            _resolved(config, found, radii, levels, int(seed), identities, data, shard_size, transfer)
        )
        store.write_environment(facts)
    clean = {name: net.outputs(data.x) for name, net in nets.items()}
    tables = _clean_tables(nets, clean, data)
    if store is not None:
        for table, frame in tables.items():
            store.write_table(table, frame)
    frames = _run_units(units, nets, clean, data, store, transfer, progress)
    results = Results({**tables, "adversarial": pd.concat(frames, ignore_index=True)}, facts)
    if store is not None:
        store.write_summary(results.summary())
    return results


def _run_units(
    units: Sequence[Unit],
    nets: Mapping[str, Adapter],
    clean: Mapping[str, Outputs],
    data: _Data,
    store: Store | None,
    transfer: bool,
    progress: Callable[[Progress], None] | None,
) -> list[pd.DataFrame]:
    frames: list[pd.DataFrame] = []
    failed = 0
    if progress is not None:
        progress(Progress(0, len(units), 0, None))
    for done, unit in enumerate(units, 1):
        frame = store.read_unit(unit.key) if store is not None else None
        if frame is None or (frame["status"] == "failed").any():
            targets = list(nets) if transfer else [unit.model]
            frame = run_unit(unit, nets, clean, data, targets)
            if store is not None:
                store.write_unit(unit.key, frame)
        frames.append(frame)
        failed += bool((frame["status"] == "failed").any())
        if progress is not None:
            progress(Progress(done, len(units), failed, unit))
    return frames


def run_unit(
    unit: Unit, nets: Mapping[str, Adapter], clean: Mapping[str, Outputs], data: _Data, targets: Sequence[str]
) -> pd.DataFrame:
    """The adversarial rows of one unit; an attack that raises gives rows that say so.

    Args:
        unit: What to run.
        nets: The adapted models by name.
        clean: Their logits and features at the clean points.
        data: The data of the whole run.
        targets: Names of the models that score the points found.

    Returns:
        One row per sample and scoring model.
    """
    rows = unit.rows
    labels = data.y[rows]
    n = len(labels)

    def keys(model: str) -> dict[str, Any]:
        return {**unit.columns(), "model": model, "sample": data.samples[rows]}

    own = Outputs(*(t[rows] for t in clean[unit.model]))
    started = time.perf_counter()
    try:
        result = unit.attack(
            nets[unit.model],
            data.x[rows],
            labels,
            delta=unit.delta,
            norm=unit.norm,
            seed=unit.own_seed,
            clean=own,
        )
    except Exception as error:
        status = "skipped" if isinstance(error, AttackNotUsableError) else "failed"
        text = str(error) if isinstance(error, ArtFlatError) else f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - started
        return pd.concat(
            [missing_rows(status, text, keys(m), n, seconds) for m in targets], ignore_index=True
        )
    frames = []
    for model in targets:
        outputs = result.outputs if model == unit.model else nets[model].outputs(result.x)
        reference = Outputs(*(t[rows] for t in clean[model]))
        frames.append(adversarial_rows(nets[model], labels, reference, result, outputs, keys(model)))
    return pd.concat(frames, ignore_index=True)


def _check_data(nets: Mapping[str, Adapter], x: Any, y: Any, samples: Any, weight: Any) -> _Data:
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
    return _Data(to_numpy(inputs), labels, ids.astype(np.int64), w)


def _clean_tables(
    nets: Mapping[str, Adapter], clean: Mapping[str, Outputs], data: _Data
) -> dict[str, pd.DataFrame]:
    hashes = np.array([content_hash(xi) for xi in data.x], dtype=object)
    rows = [
        clean_rows(m, net, clean[m], data.y, data.samples, hashes, data.weight) for m, net in nets.items()
    ]
    return {
        "models": pd.concat([model_rows(m, net) for m, net in nets.items()], ignore_index=True),
        "clean": pd.concat(rows, ignore_index=True),
        "certified": make_frame("certified", {}, 0),
    }


def _facts(
    attacks: Sequence[Attack],
    radii: Deltas,
    epsilons: Sequence[float],
    seed: int,
    identities: Mapping[str, Mapping[str, str]],
    data: _Data,
) -> dict[str, Any]:
    return {
        **environment(),
        "seed": seed,
        "threads": torch.get_num_threads(),
        "n_samples": len(data.x),
        "epsilons": list(epsilons),
        "deltas": {n: list(d) for n, d in radii.items()},
        "models": {m: dict(i) for m, i in identities.items()},
        "attacks": [
            {
                "name": a.name,
                "hash": a.hash,
                "library_version": a.info.version,
                "norms": list(a.info.norms),
                "budget": a.info.budget,
                "maximises_loss": a.info.maximises_loss,
                "usability": a.info.usability,
                "notes": list(a.info.notes),
                "run_in": [n for n in radii if n in a.info.norms],
            }
            for a in attacks
        ],
    }


def _resolved(
    config: Mapping[str, Any] | None,
    attacks: Sequence[Attack],
    radii: Deltas,
    epsilons: Sequence[float],
    seed: int,
    identities: Mapping[str, Mapping[str, str]],
    data: _Data,
    shard_size: int,
    transfer: bool,
) -> dict[str, Any]:
    given = dict(config or {})
    models = {m: {**given.get("models", {}).get(m, {}), "sha256": i["sha256"]} for m, i in identities.items()}
    hashed = content_hash(data.x, data.y, data.samples)
    return {
        "seed": seed,
        "deltas": {n: list(d) for n, d in radii.items()},
        "epsilons": list(epsilons),
        "attacks": [a.name for a in attacks],
        "shard_size": shard_size,
        "transfer": transfer,
        "models": models,
        "data": {**given.get("data", {}), "n": len(data.x), "hash": hashed},
        **{
            k: v
            for k, v in given.items()
            if k not in {"seed", "deltas", "epsilons", "attacks", "models", "data"}
        },
    }
