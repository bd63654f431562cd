"""Context managers that restore the state of a model after attacks and forward passes."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from .._utils.modes import restore_modes

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


@contextlib.contextmanager
def module_attributes_kept(model: nn.Module, *, frozen: bool = False) -> Iterator[None]:
    """Set a model to eval mode, uncompiled and on one device inside the block; restored afterwards.

    Compiled modules run as uncompiled code, so that hooks on their layers are called; `nn.DataParallel` runs on its
    first device only, so that one call of a layer gets the whole batch.

    Args:
        model: Any module.
        frozen: Also exclude parameters from the graphs that are built in the block.

    Yields:
        None
    """
    modules = list(model.modules())
    modes = [module.training for module in modules]
    parallel = [(m, m.device_ids) for m in modules if isinstance(m, nn.DataParallel)]
    learning = [p for p in model.parameters() if p.requires_grad] if frozen else []
    try:
        for wrapper, devices in parallel:
            wrapper.device_ids = devices[:1]
        if any(modes):
            model.eval()
        for parameter in learning:
            parameter.requires_grad_(False)
        with _uncompiled(modules):
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        if any(modes):
            restore_modes(modules, modes)
        for wrapper, devices in parallel:
            wrapper.device_ids = devices


def uncompiled(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Run compiled modules as uncompiled code, so that hooks on their layers are called.

    Args:
        model: Any module.

    Returns:
        A context manager.
    """
    return _uncompiled(list(model.modules()))


def _uncompiled(modules: list[nn.Module]) -> contextlib.AbstractContextManager[None]:
    compiled = any(
        "_orig_mod" in module._modules or vars(module).get("_compiled_call_impl") is not None
        for module in modules
    )
    # torch before 2.6 has no stances; there, the head of a compiled model is not found.
    set_stance = getattr(torch.compiler, "set_stance", None) if compiled else None
    return contextlib.nullcontext() if set_stance is None else set_stance("force_eager")


@contextlib.contextmanager
def preserved(model: nn.Module) -> Iterator[list[str]]:
    """Restore modes, weights, gradients, `requires_grad`, hooks and buffers of a model when the block ends.

    Gradients are saved, not copied: inside the block they are None at first, and gradients accumulated
    there are dropped.

    Args:
        model: Any module.

    Yields:
        A list; when the block has ended, it names the changes that were restored: `"mode"`,
        `"weights"`, `"hooks"`, `"buffers"`. Gradients are not named, since every attack fills them.
    """
    changed: list[str] = []
    modules = list(model.modules())
    modes = [module.training for module in modules]
    weights, buffers = _saved([m._parameters for m in modules], [m._buffers for m in modules])
    hooks = [_Hooks(registry) for module in modules for registry in _registries(module)]
    gradients = [_Gradient(parameter) for parameter in model.parameters()]
    try:
        yield changed
    finally:
        if restore_modes(modules, modes):
            changed.append("mode")
        changed += [
            kind
            for kind, parts in (("weights", weights), ("hooks", hooks), ("buffers", buffers))
            if sum(part.restore() for part in parts)
        ]
        for gradient in gradients:
            gradient.restore()


class _Hooks:
    """The hooks of one kind of a module."""

    def __init__(self, registry: dict[int, Any]) -> None:
        self._registry, self._before = registry, dict(registry)

    def restore(self) -> bool:
        """Whether they had been changed."""
        if self._registry == self._before:
            return False
        self._registry.clear()
        self._registry.update(self._before)
        return True


class _Gradient:
    """The gradient of a parameter, set aside, and whether it has one."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self._parameter, self._gradient, self._learns = parameter, parameter.grad, parameter.requires_grad
        parameter.grad = None

    def restore(self) -> None:
        """Put it back."""
        self._parameter.requires_grad_(self._learns)
        self._parameter.grad = self._gradient


@contextlib.contextmanager
def preserved_attributes(thing: Any, *dicts: str) -> Iterator[None]:
    """Restore the attributes of an object, and the contents of the named dictionaries among them.

    Args:
        thing: Any object with a `__dict__`, or None.
        *dicts: Names of attributes that are dictionaries, where they exist.

    Yields:
        None
    """
    attributes = {} if thing is None else vars(thing)
    before = dict(attributes)
    contents = {name: dict(before[name]) for name in dicts if name in before}
    try:
        yield
    finally:
        attributes.clear()
        attributes.update(before)
        for name, content in contents.items():
            before[name].clear()
            before[name].update(content)


def _registries(module: nn.Module) -> list[dict[int, Any]]:
    return [registry for name in _HOOKS if (registry := vars(module).get(name)) is not None]


_ALIGNED = 64
"""Alignment of copies in bytes."""


def _saved(*kinds: Sequence[dict[str, Any]]) -> list[list[_Saved]]:
    """Copies of the contents of all dictionaries of each kind."""
    saved = [[_Saved(registry, name) for registry in registries for name in registry] for registries in kinds]
    all_saved = [one for kind in saved for one in kind]
    sizes = [one.size for one in all_saved]
    for one, part in zip(all_saved, torch.split(_memory(sum(sizes)), sizes), strict=True):
        one.copy_to(part)
    return saved


def _memory(size: int) -> torch.Tensor:
    # From the kernel and not from malloc: copies among the activations of an attack would use up the freed memory that
    # the C library keeps, and every step would ask the kernel for new pages. Huge pages make copying faster.
    if size == 0:
        return torch.empty(0, dtype=torch.uint8)
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    memory = mmap.mmap(-1, size, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)


class _Saved:
    """One weight or buffer of a module, with a copy of its value."""

    def __init__(self, registry: dict[str, Any], name: str) -> None:
        self._registry, self._name = registry, name
        self._tensor: torch.Tensor | None = registry[name]
        self._copy: torch.Tensor | None = None

    @property
    def size(self) -> int:
        """Bytes that the copy needs in shared memory, a multiple of `_ALIGNED`."""
        tensor = None if self._tensor is None else self._tensor.detach()
        if type(tensor) is not torch.Tensor or tensor.is_quantized or tensor.layout != torch.strided:
            return 0  # None, and what only `clone` copies
        if tensor.device.type != "cpu":
            return 0
        return -(-tensor.numel() * tensor.element_size() // _ALIGNED) * _ALIGNED

    def copy_to(self, memory: torch.Tensor) -> None:
        """Make the copy in `memory` of `size` bytes, or in new memory if `size` is 0."""
        if self._tensor is None:
            return
        tensor = self._tensor.detach()
        if not len(memory):
            self._copy = tensor.clone()
            return
        like = torch.empty_like(tensor, device="meta")  # its strides are those of a clone
        self._copy = memory.view(tensor.dtype).as_strided(like.shape, like.stride()).copy_(tensor)

    def restore(self) -> bool:
        """Restore the value; return whether it had changed."""
        changed = self._registry.get(self._name) is not self._tensor
        self._registry[self._name] = self._tensor
        # Compare values: writes by batch norm and `.data` do not increment a tensor's version.
        if self._tensor is not None and self._copy is not None and not _equal(self._tensor, self._copy):
            changed = True
            same = self._tensor.shape == self._copy.shape and self._tensor.dtype == self._copy.dtype
            with torch.no_grad():
                if same and self._tensor.device == self._copy.device:
                    self._tensor.copy_(self._copy)
                else:
                    self._tensor.data = self._copy.clone()
        return changed


def _equal(now: torch.Tensor, before: torch.Tensor) -> bool:
    """Whether two tensors have equal values; NaN counts as equal to NaN."""
    kind, kind_before = ((t.shape, t.dtype, t.device, t.layout) for t in (now, before))
    if kind != kind_before:
        return False
    if now.layout != torch.strided:  # sparse tensors cannot be compared directly
        now, before = now.to_dense(), before.to_dense()
    if torch.equal(now, before):
        return True
    return bool(((now == before) | (now.isnan() & before.isnan())).all())
