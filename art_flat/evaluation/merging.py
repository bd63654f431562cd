"""Merging the parts of a run that were computed in several folders."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError, StoreError
from ..records.differences import differences
from ..records.fingerprint import different_functions
from ..records.run_folder import FREE_OPTIONS, IN_UNITS
from ..records.store import Store
from .finishing import has_failed
from .preparation import EnvironmentWarning
from .results import Results


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes:
        results: What the target holds now.
        added: Units of attacks and certificates that it did not have, or had failed, before.
        damaged: What could not be used, and why.
    """

    results: Results
    added: int
    damaged: list[str]


def merge(folders: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str] | None = None) -> Merged:
    """Copy the units of parts of one run into one folder; doing so again changes nothing.

    Files are checked as they are read; damaged ones are left where they are and named. A failed unit gives way to
    one that ended well. Once every unit is there, the summary is written.

    Args:
        folders: Results folders of the same run, computed with `part=` or interrupted.
        out: Where to; the first folder if None. It may hold a part already.

    Returns:
        What was done.

    Raises:
        InputError: If no folder is given.
        StoreError: If a folder holds no results, or results of another run, or of models that compute something else
            or are random; nothing is copied then.

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
        if source.run != first.run:
            one, other = (
                {k: v for k, v in s.read_config().items() if k not in FREE_OPTIONS} for s in (first, source)
            )
            changed = "\n  ".join(differences(one, other, words=("in the first", "in the second")))
            raise StoreError(
                f"{first.folder} and {source.folder} hold different runs and cannot be merged:\n  {changed}"
            )
        if facts["packages"] != manifests[0]["packages"]:
            said = ", ".join(
                differences(manifests[0]["packages"], facts["packages"], words=("there", "here"))
            )
            warnings.warn(
                f"{source.folder} was computed with different package versions: {said}",
                EnvironmentWarning,
                stacklevel=2,
            )
    _require_same_functions([*sources, *([target] if target.manifest_if_any() else [])])
    target.begin(first.read_config())
    if not target.manifest_if_any():
        target.write_manifest(manifests[0])
    target.write_fingerprints(first.read_fingerprints())
    target.write_models(first.read_models())
    damaged: list[str] = []
    added = 0
    for source in sources:
        if source.folder.resolve() != target.folder.resolve():
            added += _copy(source, target, damaged)
    results = Results.load(target.folder)
    if results.missing_units == 0:
        target.write_summary(results.summary())
    return Merged(results, added, damaged)


def _require_same_functions(stores: Sequence[Store]) -> None:
    first, *others = stores
    known = first.read_fingerprints()
    for other in others:
        conflicts = different_functions(known, other.read_fingerprints(), ("in the first", "in the second"))
        if conflicts:
            reasons = "\n  ".join(conflicts)
            raise StoreError(
                f"{first.folder} and {other.folder} hold different runs and cannot be merged:\n  {reasons}"
            )


def _copy(source: Store, target: Store, damaged: list[str]) -> int:
    added, clean = 0, set(source.read_manifest()["clean_units"])
    for table in IN_UNITS:
        for key in source.units(table):
            before = target.finished(table, key)
            if before is not None and not has_failed({table: before}):
                continue
            try:
                frame = source.read_unit(table, key)
                points = (
                    source.read_points(key) if table == "adversarial" and source.has_points(key) else None
                )
            except StoreError as error:
                damaged.append(str(error))
                continue
            if before is not None and has_failed({table: frame}):
                continue
            if points is not None:
                target.write_points(key, points)
            target.write_unit(table, key, frame)
            added += key not in clean
    if source.has_points() and not target.finished_points("clean"):
        target.write_points("clean", source.read_points("clean"))
    return added
