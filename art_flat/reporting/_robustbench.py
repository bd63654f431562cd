"""Results as the JSON files that RobustBench keeps in `model_info/`."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from .._utils.files import write_atomically
from .._utils.formatting import counted
from ..errors import InputError, StoreError
from ..records import ALL_ATTACKS, Records
from ..summaries import summarise
from ..typing import Norm

AUTOATTACK = (
    "torchattacks:APGD(loss='ce', n_restarts=1, steps=100) @standard.1",
    "torchattacks:APGDT(n_classes=10, n_restarts=1, steps=100) @standard.2",
    "torchattacks:FAB(multi_targeted=True, n_classes=10, n_restarts=1, steps=100) @standard.3",
    "torchattacks:Square(loss='margin', n_queries=5000, n_restarts=1, p_init=0.8) @standard.4",
)
"""AutoAttack's standard version as the suite `standard` records it."""

_TARGETED = "the run is targeted, and RobustBench ranks untargeted robust accuracy"

_ABOUT = (
    "link",
    "name",
    "authors",
    "additional_data",
    "number_forward_passes",
    "dataset",
    "venue",
    "architecture",
)
_OPTIONAL = ("reported", "external", "footnote", "unreliable")
_MEASURED = ("eps", "clean_acc", "autoattack_acc")


def to_robustbench(
    results: Records, folder: str | os.PathLike[str], info: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Path]:
    """Write the results as RobustBench's `model_info` files, as `Results.to_robustbench` describes.

    Args:
        results: The records of a run.
        folder: Destination, as `folder/dataset/norm/model.json`.
        info: Model → fields that a run cannot know, such as `authors`.

    Returns:
        The files, one per model, norm and δ.

    Raises:
        InputError: If a model or field is unknown, or the field is measured by the run.
        StoreError: If a file exists that art_flat did not write.

    >>> import tempfile
    >>> from art_flat.testing import example_results
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in to_robustbench(example_results(), folder)]
    ['model_0.05.json', 'model_0.3.json']
    """
    given = _checked_info(results, info or {})
    summary = summarise(results)
    files: dict[Path, dict[str, Any]] = {}
    for model in map(str, results.models["model"]):
        about = given.get(model, {})
        for norm, deltas in results.facts["deltas"].items():
            for delta in deltas:
                radius = "" if len(deltas) == 1 else f"_{_eps(results, model, delta).replace('/', '_')}"
                parent = Path(folder) / str(about.get("dataset") or "") / norm
                path = parent / f"{re.sub(r'[^0-9A-Za-z._+-]', '_', model)}{radius}.json"
                if path.as_posix().casefold() in {
                    known.as_posix().casefold() for known in files
                }:  # as on macOS
                    raise InputError(f"two models would be written to {path}; rename one ({model!r})")
                content = _entry(results, summary, model, norm, delta, about)
                if content is not None:
                    files[path] = content
    for path in files:
        if path.exists() and not _is_ours(path):
            raise StoreError(f"{path} exists and was not written by art_flat; use another folder")
    for path, content in files.items():
        write_atomically(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return list(files)


def _entry(
    results: Records, summary: pd.DataFrame, model: str, norm: Norm, delta: float, about: Mapping[str, Any]
) -> dict[str, Any] | None:
    """One file's content; None where nothing was attacked at this radius."""
    if summary.empty:
        return None
    at = (summary["model"] == model) & (summary["norm"] == norm) & (summary["delta"] == delta)
    here = summary[at]
    direct = here[here["source_model"] == model]
    if direct.empty:
        return None
    worst = direct[direct["attack"] == ALL_ATTACKS]
    row = (worst if len(worst) else direct).iloc[-1].to_dict()
    clean = results.clean[results.clean["model"] == model]
    right = (clean["pred"] == clean["label"]).to_numpy()
    weight = clean["weight"].to_numpy(float)
    autoattack, reason = _autoattack(results, model, norm, delta)
    entry: dict[str, Any] = {field: about.get(field) for field in _ABOUT}
    entry |= {
        "eps": _eps(results, model, delta),
        "clean_acc": _percent((weight * right).sum() / weight.sum()),
    }
    missing = {"autoattack_acc": reason} if autoattack is None else {}
    reason = _TARGETED if results.facts.get("target") is not None else "no attack has a result here"
    if "reported" not in about and (reason == _TARGETED or math.isnan(row["robust_accuracy"])):
        missing["reported"] = reason
    else:
        entry["reported"] = about.get("reported", _percent(row["robust_accuracy"]))
    if autoattack is not None:
        entry["autoattack_acc"] = _percent(autoattack)
    entry |= {f: about[f] for f in ("external", "footnote", "unreliable") if f in about}
    changes = {c.split("@")[1]: c for c in here.columns if c.startswith("loss_change_robustness@")}
    entry["art_flat"] = {
        "version": results.facts.get("packages", {}).get("art-flat"),
        "reported_by": "the user" if "reported" in about else "this run: the worst case over its attacks",
        "norm": norm,
        "delta": delta,
        "n_samples": len(clean),
        "weighted": bool((weight != weight[0]).any()),
        "attacks": sorted(set(here["attack"]) - {ALL_ATTACKS}),
        **{f: int(here.loc[here["attack"] != ALL_ATTACKS, f].sum()) for f in ("n_failed", "n_skipped")},
        "n_evaluated": int(row["n_evaluated"]),
        "robust_acc": _share(row["robust_accuracy"]),
        "certified_acc": _share(row["certified_accuracy"]),
        "loss_change_robustness": {e: _share(row[c]) for e, c in changes.items()},
        "certified_loss_change_robustness": {e: _share(row[f"certified@{e}"]) for e in changes},
        "missing": missing,
    }
    return entry


def _autoattack(results: Records, model: str, norm: Norm, delta: float) -> tuple[float | None, str]:
    """Robust accuracy under AutoAttack's four attacks at this radius, or None and why there is none."""
    if results.facts.get("target") is not None:
        return None, _TARGETED
    facts = [a for a in results.facts["attacks"] if a["name"] in AUTOATTACK]
    if len(facts) < len(AUTOATTACK) or not all(norm in a["norms"] for a in facts):
        return None, "AutoAttack's four attacks (the suite `standard`) were not all run in this norm"
    adv = results.adversarial
    adv = adv[(adv["model"] == model) & (adv["source_model"] == model) & adv["attack"].isin(AUTOATTACK)]
    adv = adv[(adv["norm"] == norm) & (adv["delta"].isna() | (adv["delta"] == delta))]
    n_unfinished = int(adv["status"].isin(["failed", "skipped"]).sum())
    if n_unfinished:
        return None, f"{counted(n_unfinished, 'attack')} of samples by AutoAttack failed or were skipped"
    only = replace(
        results,
        models=results.models[results.models["model"] == model],
        adversarial=adv,
        facts={**results.facts, "attacks": facts, "deltas": {norm: [delta]}},
    )
    frame = summarise(only)
    if frame.empty:
        return None, "AutoAttack's attacks have no records at this radius"
    row = frame.iloc[-1]
    n = int((results.clean["model"] == model).sum())
    if row["n_evaluated"] < n:
        return None, f"AutoAttack evaluated {row['n_evaluated']} of {counted(n, 'sample')}"
    return float(row["robust_accuracy"]), ""


def _checked_info(results: Records, info: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    models = list(map(str, results.models["model"]))
    for model, fields in info.items():
        if model not in models or not isinstance(fields, Mapping):
            raise InputError(
                f"`info` must map models ({', '.join(map(repr, models))}) to their fields, got {model!r}: {fields!r}"
            )
        for field in fields:
            if field in _MEASURED:
                raise InputError(f"info[{model!r}]: {field!r} is read from the records and cannot be given")
            if field not in (*_ABOUT, *_OPTIONAL):
                near = get_close_matches(str(field), [*_ABOUT, *_OPTIONAL], 1)
                hint = (
                    f"; did you mean {near[0]!r}?"
                    if near
                    else f"; known are {', '.join((*_ABOUT, *_OPTIONAL))}"
                )
                raise InputError(f"info[{model!r}]: RobustBench has no field {field!r}{hint}")
        dataset = fields.get("dataset")
        if dataset is not None and not re.fullmatch(r"[0-9A-Za-z_-]+", str(dataset)):
            raise InputError(
                f"info[{model!r}]: the dataset names a folder, so letters, digits, - and _; got {dataset!r}"
            )
    return info


def _eps(results: Records, model: str, delta: float) -> str:
    """The radius in units of the input range, which is [0, 1] there; in 255ths where it is a multiple of them."""
    sizes = results.models.set_index("model").loc[model]
    eps = delta / float(sizes["clip_high"] - sizes["clip_low"])
    steps = 255 * eps
    return f"{round(steps)}/255" if round(steps) and abs(steps - round(steps)) < 1e-6 else f"{eps:.6g}"


def _percent(share: float) -> str:
    return str(round(100 * float(share), 2))


def _share(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _is_ours(path: Path) -> bool:
    try:
        return "art_flat" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
