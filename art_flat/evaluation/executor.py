"""Execution of units in worker processes through joblib, with recovery from crashed workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import joblib
import torch
from joblib.parallel import get_active_backend

from ..adapters import Adapter
from ..adapters.recipe import dumps
from ..errors import InputError, StoreError
from ..records.store import Store
from .grid import CleanUnit, Unit
from .shared_job import Job, Posted, posted, work
from .worker import Data, Worker, WorkerContext, has_failed

_TRIES = 2
"""How often a unit may take its worker with it, when run alone, before it counts as failed."""

_FRUITLESS = 3
"""After how many breakdowns without a finished unit a run is given up."""

Report = Callable[[Unit | CleanUnit, bool], None]
"""Called with each unit that is done, and whether it failed."""


def uses_workers(n_jobs: int | None) -> bool:
    """Whether units go to other processes: with several jobs, or inside `joblib.parallel_config`.

    Args:
        n_jobs: As joblib takes it: a number, −1 for every core, None for what the active configuration says, else 1.

    Returns:
        False if everything is computed here.

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


class Workers:
    """Sends units to worker processes and reports what is done.

    A context manager: the job description is kept in the results folder from the first unit on until the block ends.

    Args:
        store: The results folder, which workers write to.
        nets: The models.
        data: What is attacked.
        context: The rest.
    """

    def __init__(self, store: Store, nets: Mapping[str, Adapter], data: Data, context: WorkerContext) -> None:
        self._store, self._n_jobs = store, context.settings.n_jobs
        self._worker = Worker(nets, data, context)  # for the rows of units that no worker survives
        self._stack = contextlib.ExitStack()
        self._posted: tuple[Job, Posted] | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def compute(self, units: Sequence[Unit | CleanUnit], report: Report) -> None:
        """Compute units; a worker that dies costs what it was computing, which is computed again.

        A unit whose worker dies twice with nothing else running counts as failed.

        Args:
            units: The units, none of them computed yet.
            report: Called with each that is done.

        Raises:
            InputError: If an attack cannot be sent to workers.
            StoreError: If a worker cannot read or write the results folder, or no worker lives long enough to
                finish anything.
            KeyboardInterrupt: If the user stops the run; workers are ended.
        """
        waiting = {unit.key: unit for unit in units}
        if not waiting:
            return
        _check_attacks(units)
        job, post = self._post()
        stamps = {key: self._stamp(unit) for key, unit in waiting.items()}
        suspects: dict[str, int] = {}
        fruitless = 0
        while waiting:
            alone = next((key for key in waiting if key in suspects), None)
            batch = [waiting[alone]] if alone else list(waiting.values())
            broken: Exception | None = None
            finished = 0
            try:
                for key, failed in self._stream(post, batch):
                    finished += 1
                    report(waiting.pop(key), failed)
            except (StoreError, KeyboardInterrupt):
                raise
            except Exception as error:  # of joblib's backend: the work itself catches its own
                broken = error
            if broken is None:
                continue
            for unit in batch:  # finished by a worker that could not say so any more
                if unit.key in waiting and self._stamp(unit) != stamps[unit.key]:
                    finished += 1
                    report(waiting.pop(unit.key), self._has_failed(unit))
            started = [p.name for p in job.started.iterdir()]
            for key in started:
                (job.started / key).unlink(missing_ok=True)
                if key in waiting:
                    suspects[key] = suspects.get(key, 0) + (1 if alone else 0)
            if alone in waiting and suspects[alone] >= _TRIES:
                finished += 1
                report(self._give_up(waiting.pop(alone), broken), True)
            fruitless = 0 if finished or started else fruitless + 1
            if fruitless >= _FRUITLESS:
                raise StoreError(
                    f"workers end before they have computed anything ({type(broken).__name__}: {broken}); what was "
                    "finished is kept. Try n_jobs=1"
                ) from broken

    def _post(self) -> tuple[Job, Posted]:
        if self._posted is None:
            worker = self._worker
            self._posted = self._stack.enter_context(
                posted(self._store, worker.nets, worker.data, worker.context)
            )
        return self._posted

    def _stream(self, post: Posted, units: Iterable[Unit | CleanUnit]) -> Iterator[tuple[str, bool]]:
        backend, _ = get_active_backend()
        streams = getattr(backend, "supports_return_generator", False)
        several = self._n_jobs if self._n_jobs != 1 else 2  # one job would be done in this process
        parallel = joblib.Parallel(
            n_jobs=several, batch_size=1, return_as="generator_unordered" if streams else "list"
        )
        call = joblib.delayed(work)
        outcomes: Any = parallel(call(post, dumps(unit)) for unit in units)
        try:
            for key, failed, fatal in outcomes:
                if fatal is not None:
                    raise StoreError(fatal)
                yield key, failed
        finally:
            if streams:
                outcomes.close()

    def _stamp(self, unit: Unit | CleanUnit) -> tuple[int, int] | None:
        """Which file holds the unit's rows, if there is one."""
        return self._store.stamp("certified" if isinstance(unit, CleanUnit) else "adversarial", unit.key)

    def _has_failed(self, unit: Unit | CleanUnit) -> bool:
        if isinstance(unit, CleanUnit):
            return False
        return has_failed({"adversarial": self._store.read_unit("adversarial", unit.key)})

    def _give_up(self, unit: Unit | CleanUnit, error: Exception) -> Unit | CleanUnit:
        reason = f"the worker process ended while it computed this ({type(error).__name__}), {_TRIES} times"
        if isinstance(unit, CleanUnit):
            raise StoreError(
                f"the clean points of {unit.model}: {reason}; is there enough memory?"
            ) from error
        self._store.write_unit(
            "adversarial", unit.key, self._worker.failed(unit, reason).frames["adversarial"]
        )
        return unit


def _check_attacks(units: Sequence[Unit | CleanUnit]) -> None:
    for attack in {unit.attack.name: unit.attack for unit in units if isinstance(unit, Unit)}.values():
        try:
            dumps(attack)
        except Exception as error:
            raise InputError(
                f"{attack.name} cannot be sent to workers: {type(error).__name__}: {error}. Use n_jobs=1, or a name "
                "that load_attack takes"
            ) from error
