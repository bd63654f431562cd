"""One MLflow run per evaluation, one nested run per attack."""

from __future__ import annotations

import json
import math
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from art_flat import Results
from art_flat.errors import InputError
from art_flat.evaluation import ALL_ATTACKS

_KEYS = ("model", "attack", "source_model", "norm", "delta", "maximises_loss")
_LONGEST = 5000
"""Maximum number of characters of a parameter; MLflow's limit is 6000."""
_AT_ONCE = {"metrics": 1000, "params": 100, "tags": 100}
"""Maximum number of each in one call of MLflow."""


def log_results(
    results: Results,
    *,
    tracking_uri: str | None = None,
    experiment: str = "art_flat",
    artifact_location: str | None = None,
    run_name: str | None = None,
    tags: Mapping[str, str] | None = None,
    points: bool = False,
) -> str:
    """Log an evaluation to MLflow.

    The run has the settings of the evaluation as parameters, the worst case over all attacks as metrics, and the
    records, summary, configuration, environment and, if it exists, the report as artifacts. Each attack has a
    nested run with its own parameters and metrics. A metric is named `column/model/norm/delta`, those of a tolerated
    loss change `column/model/norm/delta/epsilon ε`, as in `loss_change_robustness/cnn/Linf/0.1/epsilon 0.5`; δ is in
    clip units and ε in nats. Points found on another model add `/from source`. Non-finite values are omitted.

    Args:
        results: The evaluation.
        tracking_uri: Where MLflow stores its runs, such as `"sqlite:///mlflow.db"`; MLflow's own setting if None.
        experiment: Name of the experiment; created if it does not exist.
        artifact_location: Where a new experiment stores its files; MLflow's default if None.
        run_name: Name of the run; the name of the results folder if None.
        tags: Tags of the run.
        points: Also log the points, if the evaluation saved them.

    Returns:
        The id of the run.

    Raises:
        InputError: If the experiment was deleted.
    """
    client = MlflowClient(tracking_uri=tracking_uri)
    summary = results.summary()
    home = _experiment(client, experiment, artifact_location)
    name = run_name or (results.folder.resolve().name if results.folder is not None else "evaluation")
    with _run(client, home, name, dict(tags or {})) as run_id:
        worst = _worst(summary)
        _log(client, run_id, _parameters(results), _metrics(worst))
        _log_files(client, run_id, results, points)
        for attack in results.facts["attacks"]:
            attack_rows = summary[summary["attack"] == attack["name"]] if len(summary) else summary
            with _run(client, home, attack["name"], {"mlflow.parentRunId": run_id}) as nested:
                _log(client, nested, _attack_parameters(attack), _metrics(attack_rows))
    return run_id


def _worst(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows over all attacks, or those of the only attack."""
    if summary.empty:
        return summary
    keys = ["model", "norm", "delta"]
    both = summary[summary["source_model"] == summary["model"]]
    both = both.assign(last=both["attack"] == ALL_ATTACKS).sort_values("last", kind="stable")
    return both.drop(columns="last").drop_duplicates(keys, keep="last").sort_index()


def _experiment(client: MlflowClient, name: str, artifact_location: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location))
    if found.lifecycle_stage != "active":
        raise InputError(f"the experiment {name!r} was deleted in MLflow; restore it or use another name")
    return str(found.experiment_id)


@contextmanager
def _run(client: MlflowClient, experiment: str, name: str, tags: dict[str, str]) -> Iterator[str]:
    """A run that ends as FINISHED, or as FAILED after an exception in the block."""
    run_id = str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)
    try:
        yield run_id
    except BaseException:
        client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id)


def _log(client: MlflowClient, run_id: str, parameters: dict[str, Any], metrics: dict[str, float]) -> None:
    now = int(time.time() * 1000)
    batches: dict[str, list[Any]] = {
        "metrics": [Metric(k, v, now, 0) for k, v in metrics.items()],
        "params": [Param(k, _text(v)) for k, v in parameters.items()],
        "tags": [RunTag("art_flat", "results")],
    }
    for kind, items in batches.items():
        for start in range(0, len(items), _AT_ONCE[kind]):
            client.log_batch(run_id, **{kind: items[start : start + _AT_ONCE[kind]]})


def _parameters(results: Results) -> dict[str, Any]:
    facts = results.facts
    found: dict[str, Any] = {k: facts[k] for k in ("seed", "n_samples", "epsilons", "deltas") if k in facts}
    found |= {"attacks": [a["name"] for a in facts["attacks"]], "python": facts.get("python")}
    found |= {
        f"model/{_name(m)}/{k}": v
        for m, model_facts in facts.get("models", {}).items()
        for k, v in model_facts.items()
    }
    found |= {f"package/{p}": v for p, v in facts.get("packages", {}).items()}
    return {k: v for k, v in found.items() if v is not None}


def _attack_parameters(attack: Mapping[str, Any]) -> dict[str, Any]:
    return {("attack" if k == "name" else k): v for k, v in attack.items() if k not in ("notes", "steps")}


def _metrics(rows: pd.DataFrame) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in rows.to_dict("records"):
        cell = f"{_name(row['model'])}/{row['norm']}/{row['delta']:.6g}"
        source = "" if row["source_model"] == row["model"] else f"/from {_name(row['source_model'])}"
        for column, value in row.items():
            if column in _KEYS or not isinstance(value, int | float) or not math.isfinite(value):
                continue
            name, _, epsilon = str(column).partition("@")
            found[f"{name}/{cell}{f'/epsilon {epsilon}' if epsilon else ''}{source}"] = float(value)
    return found


def _log_files(client: MlflowClient, run_id: str, results: Results, points: bool) -> None:
    """Log the results folder as artifacts; results in memory are written to a temporary one."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = results.folder
        if folder is None:
            folder = Path(temporary) / "results"
            results.save(folder)
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in inside.parts)
            if path.is_file() and not hidden and (points or inside.parts[0] != "points"):
                where = inside.parent.as_posix()
                client.log_artifact(run_id, str(path), None if where == "." else where)


def _name(text: Any) -> str:
    """A valid key of MLflow: letters, digits and a few signs."""
    return re.sub(r"[^0-9A-Za-z_. -]", "_", str(text)).replace("..", "__")


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
