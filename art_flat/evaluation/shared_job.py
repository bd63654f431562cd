"""The job description shared with worker processes, and the function that computes it there.

A task is a path, a checksum and a unit of a few hundred bytes; models, data and options are read from the run's work
folder once per process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import sys
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import threadpoolctl
import torch

from .._utils.files import write_atomically
from .._utils.streaming import InputRows
from ..adapters import Adapter
from ..adapters.base import Recipe
from ..adapters.recipe import dumps, loads
from ..errors import ArtFlatError, StoreError
from ..records.fingerprint import difference
from ..records.store import Store
from ._data import Data
from .devices import lease_device
from .finishing import finish
from .grid import AnyUnit, Unit
from .probing import N_PROBES, fingerprint
from .worker import Worker, WorkerContext

_ARRAYS = ("y", "samples", "weight")
_GRACE = 5.0
"""Seconds beyond the time limit (or half of it, if longer) after which the worker of a unit is ended."""

_KEPT_MODELS = 2
"""Number of models that a worker keeps in memory, unless points are transferred."""


class Outcome(NamedTuple):
    """The result of a unit in a worker."""

    key: str
    failed: bool
    fatal: str | None
    """Reason why the run cannot continue."""


@dataclass(frozen=True)
class SharedJob:
    """Everything that workers need for the units of a run.

    Attributes:
        folder: The results folder.
        run: Hash of all that determines the records.
        work: Folder of this job's files.
        recipes: Recipes of the models.
        context: Options of the workers.
        on_gpu: Whether workers lease a GPU each.
        path: Import path of modules.
    """

    folder: Path
    run: str | None
    work: Path
    recipes: Mapping[str, Recipe]
    context: WorkerContext
    on_gpu: bool
    path: tuple[str, ...]

    @property
    def marks(self) -> Path:
        """Folder with one file per started unit: empty until the unit is finished, then its outcome."""
        return self.work / "units"

    def mark(self, key: str, state: Literal["", "done", "failed"]) -> None:
        """Record that a unit starts, or its outcome; called by workers."""
        (self.marks / key).write_text(state, encoding="utf-8")

    def take_marks(self, keys: Iterable[str]) -> tuple[list[str], dict[str, bool]]:
        """Units that were interrupted by a crash of a worker, whose marks are removed, and finished units.

        Args:
            keys: The units, including those that were never started.

        Returns:
            Keys of interrupted units, and key → whether it failed, of finished units.
        """
        states = {key: self.marks.joinpath(key).read_text(encoding="utf-8") for key in self._started(keys)}
        interrupted = [key for key, state in states.items() if not state]
        for key in interrupted:
            self.marks.joinpath(key).unlink()
        return interrupted, {key: state == "failed" for key, state in states.items() if state}

    def _started(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if self.marks.joinpath(key).exists()]


class JobReference(NamedTuple):
    """Location and checksum of a job's file."""

    path: str
    sha256: str


@contextlib.contextmanager
def shared_job(
    store: Store, nets: Mapping[str, Adapter], data: Data, context: WorkerContext
) -> Iterator[tuple[SharedJob, JobReference]]:
    """Write the job description into the results folder, and remove it at the end of the block.

    Args:
        store: The results folder.
        nets: The models.
        data: The data.
        context: Options of the workers.

    Yields:
        The job and the location of its file.

    Raises:
        UnsupportedEstimatorError: If a model cannot be rebuilt in another process.
    """
    remove_stale(store.folder)
    folder = store.folder.resolve()
    work = folder / f".work-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    (work / "units").mkdir(parents=True)
    try:
        job = SharedJob(
            folder, store.run, work, {name: net.recipe(work) for name, net in nets.items()}, context,
            any(net.device.type == "cuda" for net in nets.values()), tuple(map(os.path.abspath, sys.path)),
        )  # fmt: skip
        data.x.save(work / "x.npy")
        for name in _ARRAYS:
            np.save(work / f"{name}.npy", getattr(data, name), allow_pickle=False)
        content = dumps(job)
        write_atomically(work / "job", content)
        yield job, JobReference(str(work / "job"), hashlib.sha256(content).hexdigest())
    finally:
        shutil.rmtree(work, ignore_errors=True)


def remove_stale(folder: Path) -> None:
    """Remove the work folders of processes of this machine that ended without removing them."""
    for path in folder.glob(f".work-{socket.gethostname()}-*-*"):
        pid = path.name.rsplit("-", 2)[1]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def compute_in_worker(reference: JobReference, unit: bytes) -> Outcome:
    """Compute and write one unit, in a worker process.

    Args:
        reference: Location of the job.
        unit: The unit, pickled by `dumps`.

    Returns:
        The unit's key and outcome.
    """
    with _TURN:
        try:
            job, worker = _open(reference)
            task: AnyUnit = loads(unit)
            store = Store(job.folder, job.run)
            job.mark(task.key, "")
            with _ended_if_stuck(job, worker, task, store):
                failed = finish(worker, task, store)
            job.mark(task.key, "failed" if failed else "done")
            return Outcome(task.key, failed, None)
        except (ArtFlatError, OSError) as error:
            return Outcome("", True, str(error))


_TURN = threading.Lock()
"""Attacks use the process's random generators and streams, so one unit is computed at a time."""

_opened: dict[JobReference, tuple[SharedJob, Worker]] = {}
_nets: OrderedDict[str, Adapter] = OrderedDict()


class _Nets(Mapping[str, Adapter]):
    """Models built on first use, verified to be the same functions, and cached for the job."""

    def __init__(self, job: SharedJob, data: Data, device: str, n_cached: int) -> None:
        self._recipes, self._device, self._kept = job.recipes, device, n_cached
        self._data, self._known = data, Store(job.folder, job.run).read_fingerprints()

    def __getitem__(self, name: str) -> Adapter:
        if name not in _nets:
            while len(_nets) >= self._kept:
                _nets.popitem(last=False)
            _nets[name] = self._build(name)
        _nets.move_to_end(name)
        return _nets[name]

    def _build(self, name: str) -> Adapter:
        net, original = self._recipes[name].build(self._device), self._known[name]
        change = (
            None if original.is_random else difference(original, fingerprint(net, self._data.x[:N_PROBES]))
        )
        if change is not None:
            raise StoreError(
                f"model {name!r} made in a worker is a different function than here, with the same weights: its "
                f"outputs on fixed probe inputs differ by {change:.2g} of their size. Does it depend on a "
                "global that is set at run time? Let the model hold it, or use n_jobs=1"
            )
        return net

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)


def _open(reference: JobReference) -> tuple[SharedJob, Worker]:
    if reference not in _opened:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends its workers
        content = Path(reference.path).read_bytes()
        if hashlib.sha256(content).hexdigest() != reference.sha256:
            raise StoreError(f"{reference.path} is not the file that this run wrote")
        job: SharedJob = loads(content)
        sys.path += [p for p in job.path if p not in sys.path]
        x, *others = (
            np.load(job.work / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("x", *_ARRAYS)
        )
        data = Data(InputRows(x), *others)
        n_cached = len(job.recipes) if job.context.settings.transfer else _KEPT_MODELS
        _opened.clear()
        _nets.clear()
        nets = _Nets(job, data, lease_device() if job.on_gpu else "cpu", n_cached)
        _opened[reference] = job, Worker(nets, data, job.context)
        n_threads = job.context.settings.threads or 1
        threadpoolctl.threadpool_limits(n_threads)  # for the rest of this process
        torch.set_num_threads(n_threads)
    return _opened[reference]


@contextlib.contextmanager
def _ended_if_stuck(job: SharedJob, worker: Worker, unit: AnyUnit, store: Store) -> Iterator[None]:
    """End this process if an attack exceeds its time limit by far, and record the unit as failed."""
    limit = worker.context.settings.time_limit
    if limit is None or not isinstance(unit, Unit):
        yield
        return
    started = time.perf_counter()

    def end() -> None:
        seconds = time.perf_counter() - started
        reason = (
            f"the attack could not be stopped {seconds:.0f} s after it began (time_limit {limit:g} s), so its worker "
            "was ended"
        )
        store.write_unit("adversarial", unit.key, worker.failed(unit, reason, seconds).frames["adversarial"])
        job.mark(unit.key, "failed")
        os._exit(1)

    timer = threading.Timer(limit + max(_GRACE, limit / 2), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
