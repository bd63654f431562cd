"""Numbers as text, for tables, messages and progress."""

from __future__ import annotations

from typing import Any

MISSING = "–"
"""Text for NaN and None."""


NORM_SIGNS = {"Linf": "L∞", "L2": "L2", "L1": "L1", "L0": "L0"}
"""Norms as people read them; arguments, columns and files keep the keys."""


def is_missing(value: Any) -> bool:
    """Whether a number is None or NaN."""
    return value is None or bool(value != value)  # NaN differs from itself


def percent(share: Any) -> str:
    """A share as text.

    Returns:
        The text.

    >>> percent(0.125), percent(float("nan"))
    ('12.5 %', '–')
    """
    return MISSING if is_missing(share) else f"{100 * float(share):.1f} %"


def counted(n: int, singular: str, plural: str = "") -> str:
    """A number with its noun, in the singular for 1.

    Args:
        n: The number.
        singular: The noun, and what depends on its number.
        plural: The same in the plural; the singular with -s or -es if empty.

    Returns:
        The text.

    >>> counted(1, "unit"), counted(1200, "class"), counted(1, "point lies", "points lie")
    ('1 unit', '1,200 classes', '1 point lies')
    """
    plural = plural or f"{singular}{'es' if singular.endswith('s') else 's'}"
    return f"{n:,} {singular if n == 1 else plural}"


def percent_of(share: Any, n: int, singular: str = "", plural: str = "") -> str:
    """A share as text with its denominator, and its noun as in `counted`.

    Returns:
        The text.

    >>> percent_of(0.125, 80), percent_of(float("nan"), 0), percent_of(1, 1, "sample")
    ('12.5 % of 80', '–', '100.0 % of 1 sample')
    """
    of = counted(n, singular, plural) if singular else f"{n:,}"
    return MISSING if is_missing(share) else f"{percent(share)} of {of}"


def norm_sign(norm: str) -> str:
    """A norm as people read it.

    Returns:
        The text.

    >>> norm_sign("Linf"), norm_sign("L2")
    ('L∞', 'L2')
    """
    return NORM_SIGNS.get(norm, norm)


def radius_text(delta: float) -> str:
    """A radius in four digits, or in 255ths where it is a multiple of 1/255 that four digits would round.

    Returns:
        The text.

    >>> radius_text(0.1), radius_text(8 / 255), radius_text(128 / 255)
    ('0.1', '8/255', '128/255')
    """
    text, steps = f"{delta:.4g}", round(255 * delta)
    odd = float(text) != delta and 1 <= steps <= 255 and abs(255 * delta - steps) < 1e-5
    return f"{steps}/255" if odd else text


def ball_text(norm: str, delta: float) -> str:
    """A norm and a radius as people read them.

    Returns:
        The text.

    >>> ball_text("Linf", 8 / 255)
    'L∞, δ = 8/255'
    """
    return f"{norm_sign(norm)}, δ = {radius_text(delta)}"


def number(value: Any) -> str:
    """A number with three significant digits.

    Returns:
        The text.

    >>> number(0.123456), number(float("nan"))
    ('0.123', '–')
    """
    return MISSING if is_missing(value) else f"{value:.3g}"


def clock_time(seconds: float) -> str:
    """Hours, minutes and seconds, for durations that are counted.

    Returns:
        The text.

    >>> clock_time(60), clock_time(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, for durations that are estimated.

    Returns:
        The text.

    >>> duration(2.345), duration(600), duration(9000)
    ('2.35 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def size(n_bytes: float) -> str:
    """Bytes in binary units.

    Returns:
        The text.

    >>> size(512), size(3 * 2**20)
    ('0.5 KiB', '3 MiB')
    """
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.3g} {name}"
    return f"{n_bytes / 1024:.3g} KiB"


def count(value: float) -> str:
    """A large count in thousands, millions or billions.

    Returns:
        The text.

    >>> count(999), count(12_300)
    ('999', '12.3 k')
    """
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.0f}"
