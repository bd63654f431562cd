"""`evaluate`: runs every model, attack, norm and radius of a grid once and records the results."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from .._utils.modes import outside_inference_mode
from .._utils.threads import threads as limited_threads
from .._utils.validation import check_keywords
from ..attacks import Attack
from ..records.fingerprint import random_models
from ..records.manifest import environment
from ..records.memory import MemoryStore
from ..records.points import CLEAN_POINTS
from ..records.store import Store
from ._data import check_data
from .executor import uses_workers
from .preparation import begin_folder, derive_constants, probe_run
from .probing import N_PROBES, fingerprint
from .progress import Progress, progress_callback
from .results import Results
from .run import Run, adapt_models, check_run
from .scheduling import compute_after_clean, computing, missing_units
from .settings import DEFAULT_EPSILONS as DEFAULT_EPSILONS
from .settings import Settings


@check_keywords
@outside_inference_mode
def evaluate(
    models: Mapping[str, Any] | Any,
    x: Any,
    y: Any = None,
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
    lipschitz: str | Mapping[str, float] | None = "auto",
    certify: str | None = "auto",
    save_adversarial: bool = False,
    n_jobs: int | None = None,
    threads: int | None = None,
    time_limit: float | None = None,
    part: str | tuple[int, int] | None = None,
    target: Any = None,
    levels: int | None = None,
    progress: Callable[[Progress], None] | bool | None = None,
    config: Mapping[str, Any] | None = None,
) -> Results:
    """Attack every model with every attack at every radius and record each sample.

    The records are the same, bit for bit on a CPU, for any `n_jobs`, order of units and interruptions.

    Args:
        models: An ART estimator, an adapter, or a mapping name → either.
        x: Clean inputs, shape (n, ...), inside every model's clip range. Inputs that are not in memory are loaded shard
            by shard: a file mapped by NumPy, an image folder, an HDF5 or Zarr array. A `DataLoader` that
            yields pairs (x, y) is read once and kept in memory.
        y: True labels, indices (n,) or one-hot (n, k); omitted if `x` is a loader.
        deltas: Radii in clip units, `{norm: [δ, ...]}`; a plain list if all attacks have the same single norm.
        attacks: Suites, names and attacks; see `art_flat.attacks.load_attacks`. Of a suite, those that support a norm
            of `deltas`; one that is named itself and supports none is recorded as skipped.
        out: Results folder. Units found in it are not computed again; without it all results stay in memory.
        seed: Seed for all random number generators, combined with the key of each unit.
        epsilons: Default tolerated loss changes of the summary, nats.
        samples: Sample ids, whole numbers, shape (n,); 0…n−1 if None.
        weight: Sample weights for the scores, shape (n,); 1 if None.
        shard_size: Number of samples attacked together; the records depend on it.
        transfer: Also score the points found on each model on every other model.
        estimate_gradients: Use the gradient estimates of preprocessing defences that have no gradient.
        certify: Kinds of certificates. `"auto"`: bounds in feature space, by the constants of `lipschitz`; bounds over
            balls of inputs, of kind `"crown_interval"`; and `"crown"` for samples that these leave open at an ε of
            `epsilons` and that the first attack has not broken at the largest one, as far as it is expected to cost no
            more than the attacks or about a minute. `"lipschitz"`: bounds in feature space alone. `"crown"`: for every
            sample. `"branch"`: with 10 s per sample and radius, which makes the bounds depend on the machine's
            speed. None: no certificates. The `certified` table has a row per kind; scores use
            the smallest. Findings name models without such bounds, and limits on full ones.
        lipschitz: The constants for the bounds in feature space: `"spectral"` derives each feature extractor's from
            its layers (seconds for small nets, minutes for a ResNet-50), `"auto"` does so if that is expected to
            take at most about a minute or a tenth of the attacks, and findings report skipped models; a mapping
            model → constant (from L2 in clip units to features) uses yours, None skips these bounds.
        save_adversarial: Save the points, for `Results.adversarial_points` and `Results.clean_points`.
        n_jobs: Number of worker processes, −1 for one per core; 1 if None, unless set by `joblib.parallel_config`,
            which also supports Dask and Ray clusters. Workers need the results folder on a shared disk.
        threads: Threads of each worker and of this process; the records depend on it. If None, the number that the
            results folder was created with, else 1: more workers use cores better than more threads.
        time_limit: Maximum seconds of an attack per unit, after which the unit fails; None for no limit.
        part: `"3/16"`, or (3, 16), to compute the third of 16 shares of the units; `merge` combines them.
        target: Makes every attack targeted: `"least-likely"` (the wrong class with the smallest logit at the clean
            point of the attacked model), `"next"` (the class after the label), or classes, (n,) or one-hot (n, k).
            An attack succeeds where the target is predicted; attacks without targeted mode are skipped with the reason.
            Loss changes are still those of the loss at the true label, which no targeted attack maximises.
        levels: Rounds every point to this many equally spaced values of the clip range before it is judged, such as 256
            for points that an 8-bit image file can hold; see `art_flat.functional.round_to_levels`.
        progress: Called before the first unit, and when a unit starts or finishes; True shows a bar in
            the notebook or on standard error, False nothing; by default there is a bar in notebooks and on terminals.
        config: The user's configuration, stored in `config.toml` with the resolved options.

    Returns:
        The records of the run; for a part, all records in the folder.

    Raises:
        InputError: If an argument is invalid.
        StoreError: If `out` holds a different run, or one of a model that is a different function or random, or
            cannot be written.
        UnsupportedEstimatorError: If a model cannot be rebuilt in a worker.

    >>> from art_flat.testing import example_classifier
    >>> net, x, y = example_classifier()
    >>> results = evaluate(net, x, y, attacks="art_flat:PGD(steps=2)", deltas={"Linf": [0.05, 0.3]})
    >>> results.summary().query("attack == 'art_flat:PGD(steps=2)'")["robust_accuracy"].tolist()
    [1.0, 0.5]
    """
    settings = Settings(
        seed=seed, shard_size=shard_size, transfer=transfer, estimate_gradients=estimate_gradients,
        lipschitz=lipschitz, certify=certify, target=target, levels=levels, threads=threads,
        epsilons=epsilons, save_adversarial=save_adversarial,
        n_jobs=n_jobs, time_limit=time_limit, part=part,
    )  # fmt: skip
    nets = adapt_models(models)
    data = check_data(nets, x, y, samples, weight)
    run = check_run(nets, data, attacks=attacks, deltas=deltas, settings=settings, out=out, config=config)
    with progress_callback(progress) as notify:
        return _evaluate_in(out, run, notify)


def _evaluate_in(
    out: str | os.PathLike[str] | None, run: Run, progress: Callable[[Progress], None] | None
) -> Results:
    """Evaluate into a results folder, or in memory."""
    remote = uses_workers(run.settings.n_jobs)
    if out is not None:
        return _evaluate(run, Store(out, run.id), remote, progress)
    if not remote:
        return _evaluate(run, MemoryStore(), remote, progress)
    with tempfile.TemporaryDirectory(prefix="art_flat-") as folder:
        return _evaluate(run, Store(folder, run.id), remote, progress).detached()


def _evaluate(
    run: Run, store: Store | MemoryStore, remote: bool, progress: Callable[[Progress], None] | None
) -> Results:
    keep = run.settings.save_adversarial
    with limited_threads(run.threads):
        facts = {**environment(), **run.facts()}
        before = begin_folder(store, run, facts) if isinstance(store, Store) else {}
        fingerprints = {name: fingerprint(net, run.data.x[:N_PROBES]) for name, net in run.nets.items()}
        facts["random_models"] = random_models(fingerprints)
        if isinstance(store, Store):
            store.require_same_functions(fingerprints)
        grid = run.grid.part(run.settings.share)
        notify = _notes(progress, len(grid.after_clean))
        facts |= probe_run(run, fingerprints, before, facts)
        context, models = derive_constants(run, before, facts, notify)
        if isinstance(store, Store):
            store.write_manifest(facts)
            store.write_models(models)
        if keep and not store.finished_points(CLEAN_POINTS):
            store.write_points(CLEAN_POINTS, (run.data.x, run.data.samples))
        with computing(run, store, context, remote) as compute:
            compute(
                missing_units(grid.clean, store, False),
                lambda unit, failed: notify(f"{unit}, done"),
                lambda unit, text="": notify(text or str(unit)),
            )
            compute_after_clean(grid, store, keep, compute, progress)
    if isinstance(store, MemoryStore):
        return _in_memory(run, store, models, facts)
    results = Results.load(store.folder)
    if results.missing_units == 0:
        store.write_summary(results.summary())
    return results


def _notes(progress: Callable[[Progress], None] | None, total: int) -> Callable[[str], None]:
    """A callback for messages on the work before the first attack."""

    def notify(note: str) -> None:
        if progress is not None:
            progress(Progress(0, total, 0, None, None, note))

    notify("preparing")
    return notify


def _in_memory(run: Run, store: MemoryStore, models: pd.DataFrame, facts: Mapping[str, Any]) -> Results:
    clean = [u.key for u in run.grid.clean]
    order = {
        "clean": clean,
        "certified": clean + [u.key for u in run.grid.certified],
        "adversarial": [u.key for u in run.grid.attacked],
    }
    tables = {"models": models, **{t: store.read_table(t, keys) for t, keys in order.items()}}
    return Results(**tables, facts=facts, points=store.points() if run.settings.save_adversarial else None)
