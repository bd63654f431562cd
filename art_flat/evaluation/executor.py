"""Execution of units in worker processes through joblib, with recovery from crashed workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

import joblib
import torch
from joblib.parallel import get_active_backend

from ..adapters import Adapter
from ..adapters.recipe import dumps
from ..errors import InputError, StoreError
from ..records.store import Store
from ._data import Data
from .grid import AnyUnit, CertificateUnit, CleanUnit, Unit
from .shared_job import JobReference, SharedJob, compute_in_worker, shared_job
from .worker import Worker, WorkerContext
from .worker_environment import worker_environment

MAX_CRASHES = 2
"""Number of crashes of a unit that is computed alone after which it counts as failed."""

MAX_EMPTY_ROUNDS = 3
"""Number of crashes before any unit has started after which a run is aborted."""

Report = Callable[[AnyUnit, bool], None]
"""Callback with each finished unit, and whether it failed."""

Done = Callable[[str, bool], None]
"""Callback with the key of each finished unit, and whether it failed."""


def uses_workers(n_jobs: int | None) -> bool:
    """Whether units are sent to other processes: with several jobs, or inside `joblib.parallel_config`.

    Args:
        n_jobs: As in joblib: a number, −1 for every core, None for the active configuration, else 1.

    Returns:
        False if all units are computed in this process.

    Raises:
        InputError: If the active backend cannot be used.
    """
    backend, _ = get_active_backend()
    name = type(backend).__name__
    several = int(joblib.effective_n_jobs(n_jobs)) > 1
    if getattr(backend, "supports_sharedmem", False) and name != "SequentialBackend" and several:
        raise InputError(
            "threads cannot evaluate in parallel, since attacks use the process's random generators and the model's "
            'state; use joblib\'s backend "loky", "dask" or "ray"'
        )
    if name == "MultiprocessingBackend" and several and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise InputError(
            'joblib\'s backend "multiprocessing" forks, and CUDA does not survive a fork; use the backend "loky"'
        )
    return several or name not in {
        "LokyBackend",
        "SequentialBackend",
        "ThreadingBackend",
        "MultiprocessingBackend",
    }


class WorkerError(Exception):
    """A worker process ended before its units were finished."""


class Workers:
    """Sends units to worker processes and reports finished ones.

    A context manager: the job description is in the results folder from the first unit until the block ends.

    Args:
        store: The results folder that workers write to.
        nets: The models.
        data: The data.
        context: Options of the workers.
    """

    def __init__(self, store: Store, nets: Mapping[str, Adapter], data: Data, context: WorkerContext) -> None:
        self._store, self._n_jobs = store, context.settings.n_jobs
        self._worker = Worker(nets, data, context)  # for the rows of units that crash every worker
        self._stack = contextlib.ExitStack()
        self._shared: tuple[SharedJob, JobReference] | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def compute(self, units: Sequence[AnyUnit], notify_progress: Report) -> None:
        """Compute units; after a crash of a worker, the interrupted units are computed again, one at a time.

        A unit that crashes its worker twice with nothing else running counts as failed.

        Args:
            units: The units, none of which is computed yet.
            notify_progress: Called with each finished unit.

        Raises:
            InputError: If an attack cannot be sent to workers.
            StoreError: If a worker cannot read or write the results folder, or workers crash before they
                finish any unit.
            KeyboardInterrupt: If the user stops the run; workers are ended.
        """
        waiting = {unit.key: unit for unit in units}
        if not waiting:
            return
        _check_attacks(units)

        def done(key: str, failed: bool) -> None:
            notify_progress(waiting.pop(key), failed)

        while waiting:
            interrupted, _ = self._compute_together(list(waiting.values()), done)
            for key in interrupted:
                self._compute_alone(waiting[key], done)

    def _compute_alone(self, unit: AnyUnit, done: Done) -> None:
        for _ in range(MAX_CRASHES):
            interrupted, crash = self._compute_together([unit], done)
            if not interrupted:
                return
        done(self._give_up(unit, crash), True)

    def _compute_together(
        self, units: Sequence[AnyUnit], done: Done
    ) -> tuple[list[str], BaseException | None]:
        """Compute units until all are finished or a worker crashes; returns the interrupted ones and the error."""
        job, reference = self._share()
        pending = dict.fromkeys(unit.key for unit in units)
        for _ in range(MAX_EMPTY_ROUNDS):
            try:
                with worker_environment(), contextlib.closing(self._stream(reference, units)) as stream:
                    for key, failed in stream:
                        del pending[key]
                        done(key, failed)
                return [], None
            except WorkerError as error:
                crash = error.__cause__
            interrupted, finished = job.take_marks(pending)
            for key, failed in finished.items():
                done(key, failed)
            if interrupted or finished or len(pending) < len(units):
                return interrupted, crash
        raise StoreError(
            f"workers end before they have computed anything ({_name(crash)}: {crash}); finished units are kept. "
            "Try n_jobs=1"
        ) from crash

    def _share(self) -> tuple[SharedJob, JobReference]:
        if self._shared is None:
            worker = self._worker
            self._shared = self._stack.enter_context(
                shared_job(self._store, worker.nets, worker.data, worker.context)
            )
        return self._shared

    def _stream(
        self, reference: JobReference, units: Iterable[AnyUnit]
    ) -> Generator[tuple[str, bool], None, None]:
        """Keys of finished units in order of completion, and whether they failed."""
        backend, _ = get_active_backend()
        streams = getattr(backend, "supports_return_generator", False)
        several = self._n_jobs if self._n_jobs != 1 else 2  # joblib would run a single job in this process
        parallel = joblib.Parallel(
            n_jobs=several, batch_size=1, return_as="generator_unordered" if streams else "list"
        )
        call = joblib.delayed(compute_in_worker)
        try:
            outcomes: Any = parallel(call(reference, dumps(unit)) for unit in units)
            with contextlib.closing(outcomes) if streams else contextlib.nullcontext():
                for key, failed, fatal in outcomes:
                    if fatal is not None:
                        raise StoreError(fatal)
                    yield key, failed
        except StoreError:
            raise
        except Exception as error:  # from joblib's backend: workers catch exceptions of a unit
            raise WorkerError from error

    def _give_up(self, unit: AnyUnit, crash: BaseException | None) -> str:
        """Record a unit that crashed its worker every time as failed; returns its key."""
        reason = f"the worker process ended while it computed this ({_name(crash)}), {MAX_CRASHES} times"
        if isinstance(unit, CleanUnit):
            raise StoreError(
                f"the clean points of {unit.model}: {reason}; is there enough memory?"
            ) from crash
        if isinstance(unit, CertificateUnit):
            self._store.write_unit("certified", unit.key, self._worker.without_bounds(unit))
            return unit.key
        self._store.write_unit(
            "adversarial", unit.key, self._worker.failed(unit, reason).frames["adversarial"]
        )
        return unit.key


def _name(error: BaseException | None) -> str:
    return type(error).__name__


def _check_attacks(units: Sequence[AnyUnit]) -> None:
    for attack in {unit.attack.name: unit.attack for unit in units if isinstance(unit, Unit)}.values():
        try:
            dumps(attack)
        except Exception as error:
            raise InputError(
                f"{attack.name} cannot be sent to workers: {type(error).__name__}: {error}. Use n_jobs=1, or a name "
                "that load_attack accepts"
            ) from error
