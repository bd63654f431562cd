"""The configuration of a run in `config.toml`: its keys, reading and validation."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .._utils.numbers import check_delta, check_epsilon, check_seed
from ..errors import ConfigError, closest
from ..evaluation.settings import Settings
from .overrides import with_overrides

C = TypeVar("C", bound=BaseModel)
Delta = Annotated[float, BeforeValidator(check_delta)]
Epsilon = Annotated[float, BeforeValidator(check_epsilon)]
Seed = Annotated[int, BeforeValidator(check_seed)]

_DEFAULTS: Any = Settings()


class Section(BaseModel):
    """A section of a configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(Section):
    """`[models.NAME]`: the source of a classifier."""

    factory: str
    """`"package.module:function"`; returns an ART classifier or a torch network of logits."""
    weights: str | None = None
    """Weights file, relative to the configuration file."""
    mean: float | list[float] | None = None
    """Mean of the normalisation (x − mean)/std before a network: a number or one per channel, in input units."""
    std: float | list[float] | None = None
    """Standard deviation of the normalisation."""
    options: dict[str, Any] = {}
    """Keyword arguments for the factory."""


class DataConfig(Section):
    """`[data]`: the samples to attack."""

    name: Literal["digits", "mnist", "cifar10", "imagefolder", "npz"]
    root: str | None = None
    """Folder, relative to the configuration file."""
    path: str | None = None
    """File of an npz, relative to the configuration file."""
    split: str = "test"
    n: int | None = Field(default=None, ge=1)
    seed: Seed = 0
    download: bool = False
    size: int | list[int] | None = None
    channels_last: bool = False
    classes: list[str] | None = None
    """Folders of an imagefolder, in the order of the model's outputs."""


class AnalysesConfig(Section):
    """`[analyses]`: further analyses; tables are written to the folder `analyses` of the results."""

    trajectories: list[str] = []
    """Attacks whose trajectories are recorded, see `art_flat.trace_attack`."""
    scale_sweep: bool | list[str] = False
    """Attacks of the scale sweep; true for those of `trajectories`, or ART's PGD."""
    radial_profile: bool = False
    """Loss and curvature along rays."""
    n: int | None = Field(default=200, ge=1)
    """Number of samples, the first of the run."""


class RunConfig(Section):
    """A whole run; the names and defaults are those of `art_flat.evaluate`."""

    models: dict[str, ModelConfig] = Field(min_length=1)
    data: DataConfig
    deltas: dict[str, list[Delta] | Delta] | list[Delta] | Delta
    attacks: list[str] | str = "fast"
    epsilons: list[Epsilon] = list(_DEFAULTS.epsilons)
    seed: Seed = _DEFAULTS.seed
    shard_size: int = Field(default=_DEFAULTS.shard_size, ge=1)
    transfer: bool = _DEFAULTS.transfer
    estimate_gradients: bool = _DEFAULTS.estimate_gradients
    save_adversarial: bool = _DEFAULTS.save_adversarial
    n_jobs: int | None = _DEFAULTS.n_jobs
    threads: int | None = Field(default=_DEFAULTS.threads, ge=1)
    time_limit: float | None = Field(default=_DEFAULTS.time_limit, gt=0, allow_inf_nan=False)
    lipschitz: Literal["auto", "spectral", "none"] | dict[str, float] = Field(default=_DEFAULTS.lipschitz)
    """Kind of certificates; see `evaluate`."""
    certify: Literal["auto", "lipschitz", "crown", "branch", "none"] | None = _DEFAULTS.certify
    """Kind of Lipschitz bounds; see `evaluate`."""
    target: Literal["least-likely", "next"] | list[int] | None = _DEFAULTS.target
    """Makes every attack targeted; see `evaluate`."""
    levels: int | None = Field(default=_DEFAULTS.levels, ge=2)
    """Values to which the points are rounded, such as 256 of 8-bit images; see `evaluate`."""
    analyses: AnalysesConfig | None = None


def read_config(path: str | Path, overrides: Sequence[str] = (), **changes: Any) -> tuple[RunConfig, Path]:
    """Read and validate a configuration file.

    Args:
        path: A TOML file.
        overrides: Single keys, such as `"data.n=50"`; see `with_overrides`.
        **changes: Keys that override the file's, unless they are None.

    Returns:
        The configuration, and the base folder of its relative paths.

    Raises:
        ConfigError: If the file cannot be read or is invalid; the message lists all errors.
    """
    raw = with_overrides(read_toml(path), overrides)
    raw |= {key: value for key, value in changes.items() if value is not None}
    where = " with --set ".join([str(path), *overrides])
    return parse_config(raw, where), Path(path).resolve().parent


def parse_config(raw: Mapping[str, Any], where: str = "the configuration") -> RunConfig:
    """Validate the content of a configuration file.

    Args:
        raw: Keys and values of the file.
        where: Name of the configuration, for errors.

    Returns:
        The configuration.

    Raises:
        ConfigError: If something is missing, unknown or out of range; all errors are listed.
    """
    return validated(RunConfig, raw, where)


def read_toml(path: str | Path) -> dict[str, Any]:
    """The keys and values of a TOML file.

    Returns:
        The content.

    Raises:
        ConfigError: If it cannot be read or is not valid TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the configuration {path}: {reason}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def validated(kind: type[C], raw: Mapping[str, Any], where: str) -> C:
    """A configuration of one kind from keys and values; all errors are listed.

    Returns:
        The configuration.

    Raises:
        ConfigError: If something is missing, unknown or out of range.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        faults = dict.fromkeys(_describe_error(kind, e) for e in error.errors())
        raise ConfigError(f"{where}:\n" + "\n".join(faults)) from None


def _describe_error(kind: type[BaseModel], error: Any) -> str:
    key_path = [
        str(p)
        for p in error["loc"]
        if not str(p).startswith(("list[", "dict[", "literal[", "float", "function-"))
    ]
    key = ".".join(key_path)
    if error["type"] == "extra_forbidden":
        known_keys = _section(kind, key_path[:-1]).model_fields
        near = closest(key_path[-1], known_keys, n=1)
        return f"  {key}: unknown key; " + (
            f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known_keys)}"
        )
    if error["type"] == "missing":
        return f"  {key}: missing"
    return f"  {key}: {error['msg'].removeprefix('Value error, ')}, got {error['input']!r}"


def _section(kind: type[BaseModel], key_path: list[str]) -> type[BaseModel]:
    """The section of a key, from the types of the fields on its path."""
    if not key_path:
        return kind
    field = kind.model_fields.get(key_path[0])
    steps = 2 if field is not None and get_origin(field.annotation) is dict else 1
    kinds = [] if field is None else [field.annotation]
    for annotation in kinds:  # grows by the members of unions and the values of dictionaries
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return _section(annotation, key_path[steps:])
        kinds += get_args(annotation)
    return kind
