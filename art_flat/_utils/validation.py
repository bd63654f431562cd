"""Checks of user arguments; each error message explains how to fix the call."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import torch

from ..errors import InputError, ParameterError, UnknownNameError, closest
from ..typing import DEFINITIONS, NORMS, Definition, Norm
from .arrays import to_tensor
from .formatting import counted
from .input_shapes import check_columns, check_input_shape

P = ParamSpec("P")
R = TypeVar("R")
K = TypeVar("K")
V = TypeVar("V")

_NORM_ALIASES: dict[str, Norm] = {
    **{n.lower(): n for n in NORMS},
    **{n[1:].lower(): n for n in NORMS},
    "infinity": "Linf",
    "l_inf": "Linf",
    "l∞": "Linf",
}
_RANGE_TOLERANCE = 1e-6
"""Share of the clip range by which float32 inputs may lie outside it."""


def check_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Reject `eps` and other unknown keywords with an error that names the right ones."""
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if "eps" in kwargs:
            raise ParameterError(
                f"{function.__name__}() has no parameter 'eps': the radius is `delta`, "
                "the tolerated loss change is `epsilon`"
            )
        unknown = [] if takes_any else [name for name in kwargs if name not in parameters]
        if unknown:
            known = [name for name in parameters if name != "self"]
            close = closest(unknown[0], known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"its parameters are {', '.join(known)}"
            raise ParameterError(f"{function.__name__}() has no parameter {unknown[0]!r}; {hint}")
        return function(*args, **kwargs)

    return wrapper


def check_norm(norm: Any) -> Norm:
    """The stored form of a norm: "Linf", "L2", "L1" or "L0".

    Args:
        norm: A stored form in any case, `np.inf`, `0`, `1`, `2` or their texts.

    Returns:
        One of `art_flat.typing.NORMS`.

    Raises:
        UnknownNameError: If `norm` is unknown.

    >>> check_norm(np.inf), check_norm("l2"), check_norm(1)
    ('Linf', 'L2', 'L1')
    """
    if isinstance(norm, str):
        key = norm.strip().lower()
    elif isinstance(norm, (int, float, np.number)) and not isinstance(norm, bool):
        key = "inf" if norm == math.inf else f"{norm:g}"
    else:
        key = ""
    if key not in _NORM_ALIASES:
        raise UnknownNameError("norm", norm, NORMS)
    return _NORM_ALIASES[key]


def unique_keys(mapping: Mapping[Any, V], normalised: Callable[[Any], K], name: str) -> dict[K, V]:
    """A mapping with normalised keys.

    Args:
        mapping: Any mapping.
        normalised: Maps a key to its normalised form.
        name: Name of the argument, for errors.

    Returns:
        The same values in the same order.

    Raises:
        InputError: If two keys have the same normalised form, so that an entry would be lost.

    >>> unique_keys({"inf": 1, 2: 3}, check_norm, "deltas")
    {'Linf': 1, 'L2': 3}
    """
    given: dict[K, Any] = {}
    for key in mapping:
        first = given.setdefault(normalised(key), key)
        if first is not key:
            raise InputError(
                f"`{name}` has {first!r} and {key!r}, which are the same key; make them one entry"
            )
    return {new: mapping[old] for new, old in given.items()}


def check_definition(definition: Any) -> Definition:
    """One of the three relative sharpnesses.

    Returns:
        `definition` unchanged.

    Raises:
        UnknownNameError: If `definition` is unknown.
    """
    if definition not in DEFINITIONS:
        raise UnknownNameError("definition of relative sharpness", definition, DEFINITIONS)
    return cast("Definition", definition)


def check_labels(
    y: Any, n: int | None = None, nb_classes: int | None = None, name: str = "y"
) -> torch.Tensor:
    """Labels as int64 indices of shape (n,), from indices (n,) or (n, 1) or one-hot rows (n, k).

    Args:
        y: The labels.
        n: Number of samples; not checked if None.
        nb_classes: Number of classes; not checked if None.
        name: Name of the argument, for errors.

    Returns:
        Indices, int64, shape (n,), on the device of `y`.

    Raises:
        InputError: If labels are soft, out of range, not numbers, or their count is wrong.
    """
    indices = _class_indices(_label_tensor(y, name), nb_classes, name)
    if n is not None and indices.shape[0] != n:
        raise InputError(
            f"`{name}` has {counted(indices.shape[0], 'label')} for {counted(n, 'sample')}; pass one label per sample"
        )
    if nb_classes is not None and indices.numel():
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= nb_classes:
            raise InputError(
                f"`{name}` has labels from {low} to {high}, the classifier has classes 0 to {nb_classes - 1}"
            )
    return indices


def _label_tensor(y: Any, name: str) -> torch.Tensor:
    """Labels as a tensor of finite numbers, shape (n,) or (n, k), k > 1."""
    labels = to_tensor(y, name=name)
    if labels.ndim == 0:
        raise InputError(f"`{name}` is a single number; pass one label per sample, shape (n,) or (n, k)")
    if labels.is_floating_point() and not bool(torch.isfinite(labels).all()):
        raise InputError(f"`{name}` has NaN or infinite labels")
    if labels.ndim > 2:
        raise InputError(f"`{name}` must have shape (n,) or (n, k), got {tuple(labels.shape)}")
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _class_indices(labels: torch.Tensor, nb_classes: int | None, name: str) -> torch.Tensor:
    """Indices, int64, from indices of any type or one-hot rows."""
    if labels.ndim == 2:
        return _one_hot_columns(labels, nb_classes, name)
    indices = labels.to(torch.int64)
    if labels.is_floating_point() and not bool((labels == indices).all()):
        raise InputError(
            f"`{name}` has labels that are not whole numbers; pass class indices or one-hot rows"
        )
    return indices


def _one_hot_columns(rows: torch.Tensor, nb_classes: int | None, name: str) -> torch.Tensor:
    """The column of the 1 in each row."""
    if nb_classes is not None and rows.shape[1] != nb_classes:
        raise InputError(
            f"`{name}` has {counted(rows.shape[1], 'column')}, the classifier has {counted(nb_classes, 'class')}; "
            "pass class indices or one-hot rows with one column per class"
        )
    one_hot = ((rows == 0) | (rows == 1)).all() & (rows.sum(dim=1) == 1).all()
    if not bool(one_hot):
        raise InputError(
            f"`{name}` has soft labels (rows that are not one-hot); the loss −log p_y needs one class per "
            "sample: pass y.argmax(axis=1)"
        )
    return rows.to(torch.int64).argmax(dim=1)


def check_inputs(
    x: Any,
    *,
    input_shape: Sequence[int] | None = None,
    clip_values: tuple[Any, Any] | None = None,
    name: str = "x",
    read_only: bool = False,
    first_index: int = 0,
    feature_names: Sequence[str] | None = None,
) -> torch.Tensor:
    """Inputs as a floating tensor with at least one sample, finite, of the shape and in the range expected.

    Args:
        x: Samples, shape (n, ...).
        input_shape: Shape of one sample; not checked if None.
        clip_values: Smallest and largest value, numbers or arrays; not checked if None.
        name: Name of the argument, for errors.
        read_only: The result will not be written to; see `to_tensor`.
        first_index: Index of the first sample if `x` is a part of the inputs.
        feature_names: Columns that a data frame must have, in this order; not checked if None.

    Returns:
        The samples; float32 unless they have a floating-point dtype.

    Raises:
        InputError: If there is no sample, or one has another shape, NaN, or lies outside the range.
    """
    check_columns(x, feature_names, name)
    inputs = to_tensor(x, read_only=read_only, name=name)
    if not inputs.is_floating_point():
        inputs = inputs.to(torch.float32)
    check_input_shape(tuple(inputs.shape), input_shape, name)
    # one pass over the inputs and one copy to the host, to synchronise with the device only once
    low, high = torch.stack(inputs.detach().aminmax()).tolist()
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = (~torch.isfinite(inputs)).flatten(1).any(dim=1).nonzero()[:, 0] + first_index
        raise InputError(
            f"`{name}` has NaN or infinite values in sample(s) {_some(bad.tolist())}; remove or repair them"
        )
    if clip_values is not None:
        lo, hi = (torch.as_tensor(np.asarray(v), dtype=torch.float64) for v in clip_values)
        slack = _RANGE_TOLERANCE * (hi - lo)
        if lo.ndim == 0 and hi.ndim == 0:
            inside = bool((low >= lo - slack) & (high <= hi + slack))
        else:
            least, most = (limit.to(inputs.device) for limit in (lo - slack, hi + slack))
            lowest, highest = inputs.detach().amin(dim=0), inputs.detach().amax(dim=0)
            inside = bool(((lowest >= least) & (highest <= most)).all())
        if not inside:
            raise InputError(
                f"`{name}` has values from {low:.6g} to {high:.6g}, the classifier's clip_values are "
                f"{_span(lo)} to {_span(hi)}; rescale the inputs, or give the classifier the range of your data"
            )
    return inputs


def _some(indices: list[int], n: int = 5) -> str:
    return ", ".join(map(str, indices[:n])) + (f" and {len(indices) - n} more" if len(indices) > n else "")


def _span(value: torch.Tensor) -> str:
    low, high = float(value.min()), float(value.max())
    return f"{low:g}" if low == high else f"{low:g}…{high:g}"
