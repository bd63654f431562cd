"""Schema of the four tables: columns, units, and construction of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..typing import NORMS

SCHEMA_VERSION = 3
"""Incremented whenever a column changes its name, unit or meaning; part of every unit's key."""

FLAT_EPSILON = 0.1
"""Nats by which the loss of the predicted label may rise within `flat_radius`."""


UNDEFINED = "the model's output at the adversarial point is NaN or infinite"
UNDEFINED_CLEAN = "the model's output at the clean point is NaN or infinite"
UNDEFINED_OUTPUTS = (UNDEFINED, UNDEFINED_CLEAN)
"""Reasons why a row has failed although its attack finished; its sample counts as not robust."""

_TEXT, _FLOAT, _INT, _BOOL = pa.string(), pa.float64(), pa.int64(), pa.bool_()
PANDAS_DTYPES = {
    _TEXT: pd.StringDtype(na_value=np.nan),  # "str" of pandas 2 would turn None into text
    _INT: pd.Int64Dtype(),
    _BOOL: pd.BooleanDtype(),
}
"""What pandas has for the types of columns that NumPy cannot hold with missing values."""

_QUANTITIES: dict[str, pa.DataType] = {
    "pred": _INT,  # predicted label; −1 where the output is undefined
    "loss": _FLOAT,  # −log p_y, nats; NaN where the output is undefined: a logit is NaN or +inf, or all are −inf
    "confidence": _FLOAT,  # max p
    "prob_label": _FLOAT,  # p_y
    "margin": _FLOAT,  # z_y − max_{j≠y} z_j, nats
    "feature_norm": _FLOAT,  # ‖φ‖
    "trace": _FLOAT,  # Tr H = ‖φ‖² G, nats per squared unit of W
    "log_trace": _FLOAT,
    "kappa_neuronwise": _FLOAT,  # nats
    "log_kappa_neuronwise": _FLOAT,
    "feature_grad_norm": _FLOAT,  # ‖Wᵀ(p − e_y)‖, nats per feature unit
    "flat_radius": _FLOAT,  # feature units: loss of the predicted label stays within FLAT_EPSILON
}

MODELS: dict[str, pa.DataType] = {
    "model": _TEXT,
    "weights_hash": _TEXT,
    "nb_classes": _INT,
    "nb_features": _INT,
    "weight_norm": _FLOAT,  # ‖W‖_F, bias not included
    "clip_low": _FLOAT,
    "clip_high": _FLOAT,
    "lipschitz_spectral": _FLOAT,  # features per clip unit, L2 to L2
    "lipschitz_given": _FLOAT,
}
CLEAN: dict[str, pa.DataType] = {
    "model": _TEXT,
    "sample": _INT,
    "label": _INT,
    "weight": _FLOAT,
    **_QUANTITIES,
}
ADVERSARIAL: dict[str, pa.DataType] = {
    "model": _TEXT,
    "sample": _INT,
    "unit": _TEXT,  # key of the unit that made the row; names the file of its points
    "attack": _TEXT,
    "attack_hash": _TEXT,
    "norm": _TEXT,
    "delta": _FLOAT,  # clip units; null where the attack has no fixed budget
    "seed": _INT,
    "source_model": _TEXT,
    "target": _INT,  # null when untargeted
    "status": _TEXT,
    "error": _TEXT,
    "notes": _TEXT,  # messages and side effects of the attack; usually null
    **_QUANTITIES,
    "feature_shift": _FLOAT,  # ‖φ(x′) − φ(x)‖
    "bound_at_shift": _FLOAT,  # largest loss increase within that shift, nats
    **{norm.lower(): _FLOAT for norm in NORMS},  # ‖x′ − x‖, clip units
    "within_budget": _BOOL,
    "forwards": _FLOAT,  # passes of this sample inside the attack
    "backwards": _FLOAT,
    "seconds": _FLOAT,  # the sample's share of the attack's wall-clock time
}
CERTIFIED: dict[str, pa.DataType] = {
    "model": _TEXT,
    "sample": _INT,
    "norm": _TEXT,
    "delta": _FLOAT,
    "kind": _TEXT,
    "lipschitz": _TEXT,
    "loss_increase_bound": _FLOAT,  # nats
    "label_kept": _BOOL,  # whether the label is certified in the whole ball; null for kinds that bound only the loss
}
TABLES: dict[str, dict[str, pa.DataType]] = {
    "models": MODELS,
    "clean": CLEAN,
    "adversarial": ADVERSARIAL,
    "certified": CERTIFIED,
}


def to_arrow(table: str, frame: pd.DataFrame) -> pa.Table:
    """A frame as an Arrow table with exactly the columns of one of the four tables; NaN becomes null."""
    return pa.Table.from_pandas(frame, schema=pa.schema(list(TABLES[table].items())), preserve_index=False)


def make_frame(table: str, columns: Mapping[str, Any], n: int) -> pd.DataFrame:
    """A frame with every column of a table and `n` rows: scalars are repeated, missing columns are null."""
    unknown = columns.keys() - TABLES[table].keys()
    assert not unknown, f"no such columns in {table}: {unknown}"
    data = {name: _column(kind, columns.get(name), n) for name, kind in TABLES[table].items()}
    return pd.DataFrame(data, index=range(n))


def _column(kind: pa.DataType, value: Any, n: int) -> Any:
    if value is None:
        value = np.nan if kind == _FLOAT else None
    values = np.full(n, value, dtype=object) if np.ndim(value) == 0 else value
    if kind == _FLOAT:
        return np.asarray(values, dtype=np.float64)
    return pd.array(values, dtype=PANDAS_DTYPES[kind])
