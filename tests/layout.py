"""The layers of art_flat, and what they are measured by: `python -m tests.layout` prints floors, circles and sizes.

Every import counts, also one inside a function or for type checking. A part may import from parts in earlier layers
only; parts of one layer do not import each other.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

LAYERS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            {"_version"},
            {"errors", "typing"},
            {"_utils"},
            {"functional", "models", "datasets", "records"},
            {"scores", "certification"},
            {"adapters", "summaries", "training", "torchmetrics", "regularization"},
            {"attacks", "diagnostics"},
            {"metrics", "reporting"},
            {"evaluation", "analysis", "detection", "scorers"},
            {"cli", "testing"},
            {"__main__"},
        ),
    )
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
