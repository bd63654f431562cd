"""Conversion of attack parameters from configuration text or NumPy to Python values."""

from __future__ import annotations

import ast
import inspect
import math
import numbers
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from .._utils.formatting import radius_text
from ..errors import ParameterError

_FRACTION = re.compile(r"\s*[-+]?[\d.]+\s*/\s*[\d.]+\s*")


def read_parameter(attack: str, key: str, value: Any, default: Any) -> Any:
    """The value of a parameter as a Python value; the text of a number, such as "2/255", becomes that number.

    Args:
        attack: Name of the attack.
        key: The parameter.
        value: The given value.
        default: Its default, which determines its type.

    Returns:
        The value.

    Raises:
        ParameterError: If the parameter is a number and the text is not.
    """
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, str) or isinstance(default, (str, bool)):
        return value
    is_number = isinstance(default, numbers.Real)
    if not is_number and not (default is None and _FRACTION.fullmatch(value)):
        return value
    try:
        number = Fraction("".join(value.split())) if "/" not in value else _divide(*value.split("/"))
    except (ValueError, ZeroDivisionError):
        raise ParameterError(
            f"{attack}: `{key}` must be a number such as 0.01 or 2/255, got {value!r}"
        ) from None
    is_whole = isinstance(default, numbers.Integral) and number.denominator == 1
    return int(number) if is_whole else float(number)


def read_literal(node: ast.expr) -> Any:
    """The value of a literal in the text of an attack; fractions of numbers are evaluated.

    Args:
        node: The parsed text.

    Returns:
        The value.

    Raises:
        ValueError: If it is not a number, text, None, truth value, or a collection of them.

    >>> read_literal(ast.parse("(2/255, 'dlr')", mode="eval").body)
    (0.00784313725490196, 'dlr')
    """
    try:
        return ast.literal_eval(_Fractions().visit(node))
    except (TypeError, ValueError, ZeroDivisionError):
        text = ast.unparse(node)
        raise ValueError(
            f"{text} is not a number, a fraction, a quoted text, None, True, False or a list"
        ) from None


def call_text(name: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """A call as short text: the parameters that differ from their defaults, numbers in four digits or 255ths.

    Args:
        name: The name that is called.
        values: Parameters and their values; text among them is written without quotes.
        defaults: Default values of all parameters; a parameter that is missing here is always written.

    Returns:
        The text; the name alone if nothing differs.

    >>> call_text("art:PGD", {"eps": 8 / 255, "steps": 10, "norm": "L2"}, {"steps": 10, "norm": "Linf"})
    'art:PGD(eps=8/255, norm=L2)'
    """
    missing = object()
    differ = {k: v for k, v in sorted(values.items()) if not _equal(v, defaults.get(k, missing))}
    inner = ", ".join(f"{k}={radius_text(v) if isinstance(v, float) else v}" for k, v in differ.items())
    return f"{name}({inner})" if inner else name


def signature_defaults(kind: type) -> dict[str, Any]:
    """The parameters of a class's constructor with their default values; None where there is none."""
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: None if p.default is p.empty else p.default for p in parameters}


def _equal(value: Any, default: Any) -> bool:
    numeric = all(isinstance(v, numbers.Real) for v in (value, default))
    return math.isclose(value, default, rel_tol=1e-6) if numeric else bool(np.all(value == default))


class _Fractions(ast.NodeTransformer):
    """Replace a division of two numbers by its value."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if not isinstance(node.op, ast.Div):
            return node
        numerator, denominator = (ast.literal_eval(self.visit(side)) for side in (node.left, node.right))
        return ast.copy_location(ast.Constant(numerator / denominator), node)


def _divide(numerator: str, denominator: str) -> Fraction:
    return Fraction(numerator.strip()) / Fraction(denominator.strip())
