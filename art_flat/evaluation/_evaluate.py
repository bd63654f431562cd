"""`evaluate`: runs every model, attack, norm and radius of a grid once and records the results."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .._utils.threads import threads as limited_threads
from .._utils.validation import reject_eps_argument
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


@reject_eps_argument
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
    progress: Callable[[Progress], None] | bool | None = None,
    config: Mapping[str, Any] | None = None,
) -> Results:
    """Attack every model with every attack at every radius and record each sample.

    The records are the same, bit for bit on a CPU, for any `n_jobs`, order of units and interruptions.

    Args:
        models: An ART estimator, an adapted one, or a mapping name → either.
        x: Clean inputs, shape (n, ...), inside every model's clip range. Memory holds a shard at a time of what is
            not in memory yet: a file mapped by NumPy, an image folder, an HDF5 or Zarr array. A `DataLoader` that
            gives pairs (x, y) is read once and held in memory.
        y: True labels, indices (n,) or one-hot (n, k); left out where `x` is a loader.
        deltas: Radii in clip units, `{norm: [δ, ...]}`; a plain list where all attacks have the same one norm.
        attacks: Suites, names and attacks; see `art_flat.attacks.load_attacks`.
        out: Results folder. Units found in it are not computed again; without it everything stays in memory.
        seed: Decides everything random, together with each unit's content.
        epsilons: Tolerated loss changes in nats that the summary shows by default.
        samples: Sample ids, whole numbers, shape (n,); 0…n−1 if None.
        weight: Sample weights for the scores, shape (n,); 1 if None.
        shard_size: How many samples are attacked together; part of what determines the records.
        transfer: Score the points found on each model on every other model too.
        estimate_gradients: Attack through preprocessing defences that have no gradient by the estimate they declare.
        certify: What certifies. `"auto"`: bounds in feature space, by the constants of `lipschitz`; bounds over balls
            of inputs, of kind `"crown_interval"`; and `"crown"` for samples that these leave open at an ε of
            `epsilons` and that the first attack has not broken at the largest one, as far as it is expected to cost no
            more than the attacks or about a minute. `"lipschitz"`: bounds in feature space alone. `"crown"`: for every
            sample. `"branch"`: with 10 s for each sample and radius, which makes the bounds depend on the machine's
            speed. None leaves the certified side out. The `certified` table has a row per kind; everything else reads
            the smallest. Findings name models without such bounds, and where full ones stopped.
        lipschitz: The constants for the bounds in feature space: `"spectral"` derives each feature extractor's from
            its layers (seconds for small nets, minutes for a ResNet-50), `"auto"` does so where that is expected to
            take about a minute at most or a tenth of the attacks, and findings report what was left out; a mapping
            model → constant (from L2 in clip units to features) takes yours, None leaves these bounds out.
        save_adversarial: Keep the points themselves, for `Results.adversarial_points` and `Results.clean_points`.
        n_jobs: Worker processes, −1 for one per core; 1 if None, unless `joblib.parallel_config` says otherwise,
            which also takes the work to a Dask or Ray cluster. Workers need the results folder on a shared disk.
        threads: Threads of each worker, of this process too; part of what determines the records. If None, what the
            results folder was created with, else 1: more workers make better use of cores than more threads.
        time_limit: Seconds that an attack may take for one unit, after which the unit has failed; None for no limit.
        part: `"3/16"`, or (3, 16), to compute the third of 16 shares of the units; `merge` puts them together.
        target: Makes every attack targeted: `"least-likely"` (the wrong class with the smallest logit at the clean
            point of the model attacked), `"next"` (the class after the label), or classes, (n,) or one-hot (n, k).
            An attack succeeds where the target is predicted; attacks that take no target are skipped with the reason.
            Loss changes stay those of the loss at the true label, which no targeted attack maximises.
        progress: Called before the first unit, and when one begins or is done; True shows a bar on standard error.
        config: What to keep in `config.toml` beside what is resolved here.

    Returns:
        The records of the run; for a part, what the folder holds by then.

    Raises:
        InputError: If an argument cannot be used.
        StoreError: If `out` holds another run, or one of a model that computes something else or is random, or
            cannot be written.
        UnsupportedEstimatorError: If a model cannot be made again in a worker.

    >>> from art_flat.testing import example_classifier
    >>> net, x, y = example_classifier()
    >>> results = evaluate(net, x, y, attacks="art_flat:PGD(steps=2)", deltas={"Linf": [0.05, 0.3]})
    >>> results.summary().query("attack == 'art_flat:PGD(steps=2)'")["robust_accuracy"].tolist()
    [1.0, 0.5]
    """
    settings = Settings(
        seed=seed, shard_size=shard_size, transfer=transfer, estimate_gradients=estimate_gradients,
        lipschitz=lipschitz, certify=certify, target=target, threads=threads,
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
    """Evaluate into a results folder, or in memory where there is none."""
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
            store.write_points(CLEAN_POINTS, (np.asarray(run.data.x), run.data.samples))
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
    """What to call with a text on the work before the first attack; called once now."""

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
