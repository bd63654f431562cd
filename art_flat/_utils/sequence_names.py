"""Names of attacks at a position of a sequence, such as `"torchattacks:FAB @standard.3"`."""

from __future__ import annotations

import re

_POSITION = re.compile(r"(?P<spec>.*\S)\s+@(?P<sequence>[A-Za-z][\w-]*)\.(?P<position>\d+)\s*", re.DOTALL)


def split_position(spec: str) -> tuple[str, str, int] | None:
    """Split the text of an attack with a position.

    Args:
        spec: Such as `"torchattacks:FAB(steps=100) @standard.3"`.

    Returns:
        The attack, the sequence and the position; None without a position.

    >>> split_position("torchattacks:FAB(steps=100) @standard.3")
    ('torchattacks:FAB(steps=100)', 'standard', 3)
    """
    match = _POSITION.fullmatch(spec)
    return (match["spec"], match["sequence"], int(match["position"])) if match else None
