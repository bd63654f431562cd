"""Preparation of a run: it opens the folder, probes models and data, and derives Lipschitz constants."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..adapters._lipschitz import lipschitz_constants
from ..diagnostics.probes import probe_batches, probe_data, probe_model, probe_samples
from ..records.fingerprint import Fingerprint
from ..records.manifest import environment
from ..records.store import Store
from .probing import N_PROBES, full_precision
from .rows import model_rows
from .run import Run
from .worker import WorkerContext


class EnvironmentWarning(UserWarning):
    """A run is continued with different versions of packages."""


def begin_folder(store: Store, run: Run, facts: dict[str, Any]) -> dict[str, Any]:
    """Prepare the folder; return its previous manifest."""
    store.begin(run.config)
    before = store.manifest_if_any()
    store.remove_units(
        "certified", set(before.get("certificate_units", [])) - set(facts["certificate_units"])
    )
    clean, attacked = ({u.key for u in units} for units in (run.grid.clean, run.grid.attacked))
    certified = clean | set(facts["certificate_units"])
    for table, keys in (("clean", clean), ("certified", certified), ("adversarial", attacked)):
        store.quarantine_unknown_units(table, keys)
    if before:
        facts["earlier_environments"] = _earlier_environments(store, before, facts)
    return before


def _earlier_environments(
    store: Store, before: Mapping[str, Any], facts: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Environments of earlier sessions of a run other than this one's; warns if packages have changed since."""
    now, then = ({k: f.get(k) for k in environment()} for f in (facts, before))
    earlier = [e for e in before.get("earlier_environments", []) if e not in (now, then)]
    if now == then:
        return earlier
    packages: Mapping[str, Any] = then.get("packages") or {}
    changed = {p: (packages.get(p), v) for p, v in facts["packages"].items() if packages.get(p) != v}
    if changed:
        versions = ", ".join(f"{p} {a} then, {b} now" for p, (a, b) in changed.items())
        warnings.warn(
            f"{store.folder} was created with different package versions: {versions}",
            EnvironmentWarning,
            stacklevel=6,
        )
    return [*earlier, then]


def probe_run(
    run: Run, fingerprints: Mapping[str, Fingerprint], before: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Measurements of models and data for the findings, from the manifest if it has them.

    Args:
        run: The run.
        fingerprints: Model name → outputs on the probe inputs, which include the first samples of the run.
        before: The manifest of earlier sessions.
        facts: The facts of this session.

    Returns:
        The facts `models_asked` and `data_asked`.
    """
    if before.get("models") == facts["models"] and before.get("models_asked"):
        return {k: before[k] for k in ("models_asked", "data_asked")}
    data = run.data
    positions = probe_samples(len(data.x), math.prod(data.x.shape[1:]), run.settings.shard_size)
    x = np.concatenate([data.x[i : i + 1] for i in positions.tolist()])
    gradients = any(a.info.access == "white-box" for a in run.attacks)
    measured = {
        name: probe_model(
            net, x, data.y[positions], data.samples[positions],
            gradients=gradients, estimated=run.settings.estimate_gradients,
        ) | {"batch_dependent": _batch_dependence(run, name, fingerprints[name])}
        for name, net in run.nets.items()
    }  # fmt: skip
    return {"models_asked": measured, "data_asked": probe_data(x)}


def _batch_dependence(run: Run, model: str, known: Fingerprint) -> dict[str, Any] | None:
    if known.is_random:
        return None
    first, ids = run.data.x[:N_PROBES], run.data.samples[:N_PROBES]
    with full_precision():
        return probe_batches(run.nets[model], first, ids, known.logits[N_PROBES:])


def derive_constants(
    run: Run, before: Mapping[str, Any], facts: dict[str, Any], notify: Callable[[str], None]
) -> tuple[WorkerContext, pd.DataFrame]:
    """Lipschitz constants, from the manifest if available, and the `models` table."""
    constants, rows, noted = {}, [], {}
    known = before.get("certificates", {}) if before.get("models") == facts["models"] else {}
    for name, net in run.nets.items():
        bounds = run.known_constants(known.get(name))
        missing = known[name]["missing"] if bounds is not None else {}
        if bounds is None:
            notes = partial(_named_note, name, notify)
            bounds, missing = lipschitz_constants(
                net, run.certified_norms(name), run.given_constant(name), notes
            )
        constants[name] = bounds
        noted[name] = {"lipschitz": {n: c.value for n, c in bounds.items()}, "missing": missing}
        reasons = {"skipped": run.uncertified, "unbounded": run.unbounded, "limited": run.limited}
        noted[name] |= {key: models[name] for key, models in reasons.items() if name in models}
        rows.append(model_rows(name, net, bounds.get("L2")))
    facts["certificates"] = noted
    return run.context(constants), pd.concat(rows, ignore_index=True)


def _named_note(model: str, notify: Callable[[str], None], text: str) -> None:
    notify(f"{model}: {text}")
