"""Run a configuration: load its data and models, evaluate them, write its analyses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._utils.formatting import counted
from ..errors import ArtFlatError, ConfigError
from ..evaluation.settings import Settings
from .config import AnalysesConfig, DataConfig, ModelConfig, RunConfig

if TYPE_CHECKING:
    from ..adapters import Adapter
    from ..analysis._write_analyses import Analyses
    from ..datasets import Dataset
    from ..evaluation import Progress, Results


def run_config(
    config: RunConfig,
    folder: Path,
    out: str | Path | None,
    progress: Callable[[Progress], None] | None = None,
    notify: Callable[[str], None] = lambda _: None,
    *,
    n_jobs: int | None = None,
    part: str | None = None,
    trust: bool = False,
) -> Results:
    """Load data and models as configured, evaluate them, and write the tables of `[analyses]`.

    Args:
        config: The configuration.
        folder: Base of relative paths and first folder of the import path of factories.
        out: Results folder.
        progress: See `evaluate`.
        notify: Called with a message before each step.
        n_jobs: Number of worker processes; overrides the configuration.
        part: Share of the units to compute, such as `"3/16"`.
        trust: Read weights from pickles that can run any code.

    Returns:
        The results.

    Raises:
        ConfigError: If data or a model cannot be loaded.
    """
    from ..evaluation import evaluate

    data, models, options = prepare(config, folder, notify, trust=trust)
    as_given = config.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude={"analyses"})
    as_given["data"]["classes"] = list(data.class_names)
    if n_jobs is not None:
        options["n_jobs"] = n_jobs
    results = evaluate(
        models, data.x, data.y, **options, out=out, part=part, progress=progress, config=as_given
    )
    if config.analyses is not None and out is not None and not results.missing_units:
        _analyse(config.analyses, folder, results, models, data, Path(out), notify)
    return results


def prepare(
    config: RunConfig, folder: Path, notify: Callable[[str], None] = lambda _: None, *, trust: bool = False
) -> tuple[Dataset, dict[str, Adapter], dict[str, Any]]:
    """Load data and models as configured.

    Args:
        config: The configuration.
        folder: Base of relative paths and first folder of the import path of factories.
        notify: Called with a description of the data.
        trust: Read weights from pickles that can run any code.

    Returns:
        The data, the adapted models, and the further arguments of `evaluate` and `plan`.

    Raises:
        ConfigError: If data or a model cannot be loaded.
    """
    from ..adapters import adapt
    from ..adapters.recipe import FactoryRecipe
    from ..attacks.imported import with_imported

    notify("loading data and models")
    attacks = with_imported(config.attacks, folder)
    data = load_data(config.data, folder)
    notify(
        f"{data.name}: {counted(len(data), 'sample')} of shape {data.x.shape[1:]}, {counted(data.nb_classes, 'class')}"
    )
    models = {}
    for name, model in config.models.items():
        net = adapt(load_model(model, data, folder, name, trust=trust))
        arguments = {**_arguments(model, data, folder), "trust": trust}
        net.made_by = FactoryRecipe(arguments, net.identity()["sha256"])
        models[name] = net
    as_given = {f.name: getattr(config, f.name) for f in fields(Settings) if f.name in RunConfig.model_fields}
    return (
        data,
        models,
        {"samples": data.sample_ids, "deltas": config.deltas, "attacks": attacks, **as_given},
    )


def analyses_of(config: AnalysesConfig, folder: Path) -> Analyses:
    """The analyses of a configuration, with user-defined attacks loaded.

    Args:
        config: The section of the configuration.
        folder: First folder of the import path of attacks.

    Returns:
        The analyses.

    Raises:
        ConfigError: If an attack of an import string cannot be loaded.
    """
    from ..analysis._write_analyses import DEFAULT_SWEEP, Analyses
    from ..attacks.imported import with_imported

    sweeps = config.scale_sweep
    if isinstance(sweeps, bool):
        sweeps = (config.trajectories or [DEFAULT_SWEEP]) if sweeps else []
    traced, swept = (with_imported(specs, folder) for specs in (config.trajectories, sweeps))
    return Analyses(traced, swept, config.radial_profile)


def _analyse(
    config: AnalysesConfig,
    folder: Path,
    results: Results,
    models: Mapping[str, Any],
    data: Dataset,
    out: Path,
    notify: Callable[[str], None],
) -> None:
    from ..analysis._write_analyses import write_analyses

    written = write_analyses(
        results, models, data.x[: config.n], data.y[: config.n], out / "analyses",
        analyses_of(config, folder),
        samples=data.sample_ids[: config.n], notify=notify,
    )  # fmt: skip
    notify(f"analyses: {', '.join(sorted(written))} in {out / 'analyses'}")


def load_data(config: DataConfig, folder: Path) -> Dataset:
    """The data set of a configuration, with paths relative to `folder`.

    Returns:
        The data.

    Raises:
        ConfigError: If it cannot be loaded.
    """
    from ..datasets import load_dataset

    options = config.model_dump(exclude_defaults=True)
    for key in ("root", "path"):
        if key in options:
            options[key] = folder / Path(options[key]).expanduser()
    try:
        return load_dataset(options.pop("name"), **options)
    except ArtFlatError as error:
        raise ConfigError(f"data: {error}") from error


def load_model(config: ModelConfig, data: Dataset, folder: Path, name: str = "model", **options: Any) -> Any:
    """The ART classifier of a configuration, with paths relative to `folder`; `options` go to `build`.

    Returns:
        The classifier.

    Raises:
        ConfigError: If it cannot be built.
    """
    from ..models import build

    try:
        return build(**_arguments(config, data, folder), **options)
    except ArtFlatError as error:
        raise ConfigError(f"models.{name}: {error}") from error


def _arguments(config: ModelConfig, data: Dataset, folder: Path) -> dict[str, Any]:
    """The arguments of `models.build`."""
    return {
        "factory": config.factory,
        "weights": folder / Path(config.weights).expanduser() if config.weights else None,
        "input_shape": data.x.shape[1:],
        "nb_classes": data.nb_classes,
        "clip_values": data.clip_values,
        "mean": config.mean,
        "std": config.std,
        "options": config.options,
        "search_path": folder,
    }
