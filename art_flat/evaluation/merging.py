"""Merging the parts of a run that were computed in several folders."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..errors import InputError, StoreError
from ..records.differences import differences
from ..records.fingerprint import different_functions
from ..records.points import Saved
from ..records.run_folder import FREE_OPTIONS, IN_UNITS
from ..records.store import Store
from .finishing import has_failed
from .preparation import EnvironmentWarning
from .results import Results


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Attributes:
        results: The results in the target folder.
        added: Units of attacks and certificates that it did not have, or had failed, before.
        damaged: Files that could not be used, with reasons.
    """

    results: Results
    added: int
    damaged: list[str]


def merge(folders: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str] | None = None) -> Merged:
    """Copy the units of parts of one run into one folder; repeating it changes nothing.

    Files are verified when read; damaged ones are left in place and listed. A failed unit is replaced by
    a successful one. Once every unit exists, the summary is written.

    Args:
        folders: Results folders of the same run, computed with `part=` or interrupted.
        out: Destination; the first folder if None. It may already hold a part.

    Returns:
        The result of the merge.

    Raises:
        InputError: If no folder is given.
        StoreError: If a folder holds no results, or results of a different run, or of models that are different
            functions or random; nothing is copied then.

    >>> import tempfile
    >>> from art_flat.evaluation import evaluate
    >>> from art_flat.testing import example_classifier
    >>> net, x, y = example_classifier()
    >>> options = {"attacks": "art_flat:GaussianNoise", "deltas": {"Linf": [0.05, 0.3]}, "certify": None}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     parts = [f"{folder}/1", f"{folder}/2"]
    ...     for i, part in enumerate(parts, 1):
    ...         _ = evaluate(net, x, y, out=part, part=(i, 2), **options)
    ...     merged = merge(parts, f"{folder}/whole")
    ...     merged.results.missing_units, merged.damaged
    (0, [])
    """
    sources = [Store(folder) for folder in dict.fromkeys(map(os.path.abspath, folders))]
    if not sources:
        raise InputError("no folder was given to merge")
    manifests = [source.read_manifest() for source in sources]
    first = sources[0]
    if first.run is None:
        raise StoreError(f"{first.folder} was written by Results.save and is not part of a run")
    target = first if out is None else Store(os.path.abspath(out), first.run)
    for source, facts in zip(sources[1:], manifests[1:], strict=True):
        _require_same_run(first, source)
        _warn_about_packages(source.folder, manifests[0]["packages"], facts["packages"])
    _require_same_functions([*sources, *([target] if target.manifest_if_any() else [])])
    target.begin(first.read_config())
    if not target.manifest_if_any():
        target.write_manifest(manifests[0])
    target.write_fingerprints(first.read_fingerprints())
    target.write_models(first.read_models())
    damaged: list[str] = []
    others = [s for s in sources if s.folder.resolve() != target.folder.resolve()]
    added = sum(_copy(source, target, damaged) for source in others)
    results = Results.load(target.folder)
    if results.missing_units == 0:
        target.write_summary(results.summary())
    return Merged(results, added, damaged)


def _require_same_run(first: Store, source: Store) -> None:
    if source.run == first.run:
        return
    one, other = (
        {k: v for k, v in s.read_config().items() if k not in FREE_OPTIONS} for s in (first, source)
    )
    raise _cannot_merge(first, source, differences(one, other, words=("in the first", "in the second")))


def _cannot_merge(first: Store, other: Store, reasons: Sequence[str]) -> StoreError:
    lines = "\n  ".join(reasons)
    return StoreError(
        f"{first.folder} and {other.folder} hold different runs and cannot be merged:\n  {lines}"
    )


def _warn_about_packages(folder: Path, first: Mapping[str, str], other: Mapping[str, str]) -> None:
    if first != other:
        changed = ", ".join(differences(first, other, words=("there", "here")))
        warnings.warn(
            f"{folder} was computed with different package versions: {changed}",
            EnvironmentWarning,
            stacklevel=3,
        )


def _require_same_functions(stores: Sequence[Store]) -> None:
    first, *others = stores
    fingerprints = first.read_fingerprints()
    for other in others:
        conflicts = different_functions(
            fingerprints, other.read_fingerprints(), ("in the first", "in the second")
        )
        if conflicts:
            raise _cannot_merge(first, other, conflicts)


def _copy(source: Store, target: Store, damaged: list[str]) -> int:
    added, clean = 0, set(source.read_manifest()["clean_units"])
    for table, key in [(t, k) for t in IN_UNITS for k in source.units(t)]:
        try:
            unit = _better_unit(source, target, table, key)
        except StoreError as error:
            damaged.append(str(error))
            continue
        if unit is not None:
            frame, points = unit
            if points is not None:
                target.write_points(key, points)
            target.write_unit(table, key, frame)
            added += key not in clean
    if source.has_points() and not target.finished_points("clean"):
        target.write_points("clean", source.read_points("clean"))
    return added


def _better_unit(
    source: Store, target: Store, table: str, key: str
) -> tuple[pd.DataFrame, Saved | None] | None:
    """Rows and points of a unit that is missing or failed in the target, if this one succeeded; else None."""
    before = target.finished(table, key)
    if before is not None and not has_failed({table: before}):
        return None
    frame = source.read_unit(table, key)
    points = source.read_points(key) if table == "adversarial" and source.has_points(key) else None
    is_worse = before is not None and has_failed({table: frame})
    return None if is_worse else (frame, points)
