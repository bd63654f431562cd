"""Selects the reader for an attack object of ART, torchattacks or foolbox."""

from __future__ import annotations

from typing import Any

from . import _objects_art, _objects_foolbox, _objects_torchattacks
from ._objects import LibraryObject, is_instance


def read_object(obj: Any) -> LibraryObject | None:
    """The description of an attack object of ART, torchattacks or foolbox.

    Args:
        obj: Any object.

    Returns:
        The description; None if it is not such an object.

    Raises:
        InputError: If it is one, but cannot run on labelled samples.
    """
    if is_instance(obj, "art.attacks.attack", "EvasionAttack"):
        return _objects_art.read(obj)
    if is_instance(obj, "torchattacks.attack", "Attack"):
        return _objects_torchattacks.read(obj)
    if is_instance(obj, "foolbox.attacks.base", "Attack"):
        return _objects_foolbox.read(obj)
    return None
