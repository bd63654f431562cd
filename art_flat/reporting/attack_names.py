"""Short names of the attacks of a run, for everything that a person reads; records keep the full names."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from ..records import Records


def short_names(results: Records) -> dict[str, str]:
    """A short, unique name for each attack of a run: class and what differs from its defaults.

    Args:
        results: The records of a run.

    Returns:
        Full name, as in the column `attack` of records and summary → short name; the full name where two attacks
        would have the same short one.

    >>> from art_flat.testing import example_results
    >>> short_names(example_results())
    {'art_flat:PGD(steps=2)': 'art_flat:PGD(steps=2)', 'art_flat:GaussianNoise': 'art_flat:GaussianNoise'}
    """
    names = {a["name"]: a.get("short_name") or a["name"] for a in results.facts["attacks"]}
    uses = Counter(names.values())
    return {name: short if uses[short] == 1 else name for name, short in names.items()}


def with_short_names(frame: pd.DataFrame, results: Records) -> pd.DataFrame:
    """A table with the column `attack`, such as a summary, with short names in it; others are unchanged."""
    return frame.assign(attack=frame["attack"].replace(short_names(results))) if len(frame) else frame


def shortened(text: str, results: Records) -> str:
    """A sentence with the short names of the attacks in place of the full ones."""
    for name, short in sorted(short_names(results).items(), key=lambda pair: -len(pair[0])):
        text = text.replace(name, short)
    return text
