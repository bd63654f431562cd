"""A digest of everything that determines what a function or object does: code, closure, arguments, attributes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import types
import weakref
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import nn

from .._utils.arrays import to_numpy

_ATOMS = (type(None), type(...), bool, int, float, complex, str, bytes, range, slice, np.generic)
_TORCH_ATOMS = (torch.dtype, torch.device, torch.Size, torch.layout, Enum)
_BY_NAME = {"logging", "threading", "_thread", "_io", "weakref"}
"""Modules whose objects do not affect the result of an attack."""

_BOOKKEEPING = {"training", "_is_full_backward_hook", "_compiled_call_impl", "__weakref__", "__dict__"}


def fingerprint(thing: Any, *, settings_only: bool = False) -> str:
    """Twelve hexadecimal digits that change with the code or the data of a callable, and agree between processes.

    Included are the bytecode, defaults and closure of functions, the methods and class attributes of the classes of
    the same module, the arguments of partial functions, and the attributes of objects down to the values of arrays and
    tensors. Classes and modules defined elsewhere are included by name, globals if they are numbers, texts, arrays,
    or functions and classes of the same module.

    Args:
        thing: A function or a callable object.
        settings_only: Exclude state that attacks may change during a run: closures, the contents of lists,
            dictionaries and sets, and attributes that start with an underscore.

    Returns:
        The digest; for objects without readable state, such as locks, only the class is included.
    """
    walk = _Walk(thing, settings_only)
    walk.add(thing)
    return walk.digest.hexdigest()[:12]


_first_seen: dict[int, tuple[weakref.ref[Any], str]] = {}


def identity(thing: Any) -> str:
    """The fingerprint of an object at its first use in this process, combined with its current settings.

    So an attack that stores its history stays the same attack, and a changed step size makes a different
    attack.

    Args:
        thing: A function or a callable object.

    Returns:
        Twelve hexadecimal digits.
    """
    key = id(thing)
    first_seen = _first_seen.get(key)
    first = first_seen[1] if first_seen is not None and first_seen[0]() is thing else fingerprint(thing)
    with contextlib.suppress(TypeError):  # objects without weak references are hashed every time
        _first_seen[key] = weakref.ref(thing, lambda _: _first_seen.pop(key, None) and None), first
    return fingerprint((first, fingerprint(thing, settings_only=True)))


class _Walk:
    """A traversal of everything that an object refers to; each object is visited once."""

    def __init__(self, root: Any, settings_only: bool) -> None:
        self.digest = hashlib.sha256()
        self._home = _module(root)
        self._settings_only = settings_only
        self._visited: dict[int, tuple[int, Any]] = {}  # the things are held, so that no id is used again

    def write(self, *words: object) -> None:
        for word in words:
            text = str(word).encode()
            self.digest.update(f"{len(text)}:".encode() + text)

    def add(self, thing: Any) -> None:
        if isinstance(thing, (*_ATOMS, *_TORCH_ATOMS)):
            self.write(type(thing).__qualname__, repr(thing))
        elif isinstance(thing, (tuple, frozenset, types.CodeType)):  # shared or not, they mean the same
            self._add_new(thing)
        elif id(thing) in self._visited:
            self.write("visited", self._visited[id(thing)][0])
        else:
            self._visited[id(thing)] = len(self._visited), thing
            self._add_new(thing)

    def _add_new(self, thing: Any) -> None:
        if isinstance(thing, (np.ndarray, torch.Tensor)):
            self._add_array(thing)
        elif isinstance(thing, types.CodeType):
            self._add_code(thing)
        elif isinstance(thing, types.FunctionType):
            self._add_function(thing)
        elif isinstance(thing, types.ModuleType):
            self.write("module", thing.__name__)
        elif isinstance(thing, type):
            self._add_class(thing)
        elif isinstance(thing, (Mapping, Set, Sequence, bytearray)):
            self._add_container(thing)
        else:
            self._add_object(thing)

    def _add_array(self, array: Any) -> None:
        if isinstance(array, torch.Tensor) and (array.is_quantized or array.layout != torch.strided):
            array = array.dequantize() if array.is_quantized else array.to_dense()
        values = to_numpy(array)
        self.write("array", array.dtype, values.shape)
        if values.dtype == object:
            self._add_items(values.ravel().tolist())
        else:
            self.digest.update(np.ascontiguousarray(values).tobytes())

    def _add_code(self, code: types.CodeType) -> None:
        self.write("code", code.co_code.hex(), code.co_names, code.co_argcount, code.co_kwonlyargcount)
        self._add_items(code.co_consts)

    def _add_function(self, function: types.FunctionType) -> None:
        self.add(function.__code__)
        self._add_items([function.__defaults__, function.__kwdefaults__])
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self.write(name)
            self.add(None if self._settings_only else _content(cell))
        if function.__module__ == self._home:
            for name in sorted(_names(function.__code__) & function.__globals__.keys()):
                self._add_global(name, function.__globals__[name])

    def _add_global(self, name: str, value: Any) -> None:
        code = isinstance(value, (type, types.FunctionType)) and _module(value) == self._home
        if code or isinstance(value, (*_ATOMS, *_TORCH_ATOMS, np.ndarray, torch.Tensor, tuple)):
            self.write("global", name)
            self.add(value)

    def _add_class(self, cls: type) -> None:
        self.write("class", cls.__module__, cls.__qualname__)
        if cls.__module__ == self._home:
            self._add_items(cls.__bases__)
            for name, value in sorted(vars(cls).items()):
                if isinstance(value, (property, functools.cached_property)):
                    value = getattr(value, "fget", None) or getattr(value, "func", None)
                value = getattr(value, "__func__", value)  # of class methods and static methods
                if isinstance(value, (*_ATOMS, types.FunctionType, np.ndarray, torch.Tensor, tuple)):
                    self.write(name)
                    self.add(value)

    def _add_container(self, items: Any) -> None:
        self.write(type(items).__qualname__)
        if self._settings_only and not isinstance(items, (tuple, frozenset, types.MappingProxyType)):
            return
        if isinstance(items, Mapping):
            for key, value in items.items():
                self._add_items([key, value])
        elif isinstance(items, Set):
            self.write(*sorted(fingerprint(item) for item in items))
        else:
            self._add_items(items)

    def _add_items(self, items: Any) -> None:
        self.write(len(items))
        for item in items:
            self.add(item)

    def _add_object(self, thing: Any) -> None:
        self.add(type(thing))
        if isinstance(thing, functools.partial):
            self._add_items([thing.func, thing.args, *sorted(thing.keywords.items())])
        elif isinstance(thing, (types.MethodType, types.BuiltinMethodType)):
            self.write(thing.__name__)
            self.add(thing.__self__)
        for name, value in sorted(_attributes(thing).items()):
            hook = isinstance(thing, nn.Module) and name.endswith("_hooks")
            private = self._settings_only and name.startswith("_")
            if not (hook or private or name in _BOOKKEEPING):
                self.write(name)
                self.add(value)


def _module(thing: Any) -> str:
    while isinstance(thing, (functools.partial, types.MethodType)):
        thing = thing.func if isinstance(thing, functools.partial) else thing.__self__
    named = thing if isinstance(thing, (type, types.FunctionType)) else type(thing)
    return str(named.__module__)


def _names(code: types.CodeType) -> set[str]:
    """Global names that a function and the functions inside it use."""
    inner = [_names(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*inner)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable has no value yet
        return None


def _attributes(thing: Any) -> dict[str, Any]:
    """The state of an object: its `__dict__` and slots; for objects written in C, their pickled state."""
    calls = isinstance(thing, (functools.partial, types.MethodType, types.BuiltinMethodType))
    if calls or type(thing).__module__ in _BY_NAME:
        return {}
    slots = [s for cls in type(thing).__mro__ for s in _slots(cls) if hasattr(thing, s)]
    state = {**getattr(thing, "__dict__", {}), **{s: getattr(thing, s) for s in slots}}
    return state if state or hasattr(thing, "__dict__") else _pickled(thing)


def _slots(cls: type) -> Sequence[str]:
    slots = vars(cls).get("__slots__", ())
    return [slots] if isinstance(slots, str) else list(slots)


def _pickled(thing: Any) -> dict[str, Any]:
    try:
        made = thing.__reduce_ex__(2)
    except Exception:  # a lock, a file, a device handle: nothing that can be read
        return {}
    return {str(i): part for i, part in enumerate(made)} if isinstance(made, tuple) else {}
