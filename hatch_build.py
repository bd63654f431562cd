"""Builds the distribution's README: outside the repository, pictures and links need absolute addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_CODE = re.compile(r"(```.*?```)", flags=re.DOTALL)
_TARGET = r"(?!https?:|mailto:|#|data:)(?P<target>[^\s\"')]+)"
_PICTURE = re.compile(rf"!\[(?P<text>[^\]]*)\]\({_TARGET}\)")
_LINK = re.compile(rf"(?<!!)\[(?P<text>[^\]]*)\]\({_TARGET}\)")
_PICTURE_TAG = re.compile(rf"(?P<before><(?:img|source)\b[^>]*?\bsrc(?:set)?=\"){_TARGET}(?P<after>\"[^>]*>)")
_LINK_TAG = re.compile(rf"(?P<before><a\b[^>]*?\bhref=\"){_TARGET}(?P<after>\"[^>]*>)(?P<text>.*?)</a>")
_EMPTY = re.compile(r"<picture>\s*</picture>")

NewTarget = Callable[[str], str | None]


def readme_outside(text: str, repository: str | None) -> str:
    """The README with addresses that hold outside the repository.

    Args:
        text: Markdown with targets relative to the root of the repository.
        repository: Its address; if None, pictures are left out and links become their text.

    Returns:
        The text.
    """
    if repository is None:
        return with_targets(text, picture=lambda _: None, page=lambda _: None)
    root = repository.rstrip("/")
    return with_targets(
        text, picture=lambda t: f"{root}/raw/HEAD/{t}", page=lambda t: f"{root}/blob/HEAD/{t}"
    )


def with_targets(text: str, *, picture: NewTarget, page: NewTarget) -> str:
    """Markdown with other targets of its relative pictures and links; code blocks are unchanged.

    Args:
        text: Markdown, which may contain HTML.
        picture: Target of a picture → its new target, or None to leave the picture out.
        page: Target of a link → its new target, or None to keep only the link's text.

    Returns:
        The text.
    """
    parts = _CODE.split(text)
    return "".join(part if i % 2 else _with_targets(part, picture, page) for i, part in enumerate(parts))


def _with_targets(text: str, picture: NewTarget, page: NewTarget) -> str:
    def replace(pattern: re.Pattern[str], new: NewTarget, template: str, otherwise: str) -> None:
        nonlocal text

        def replaced(match: re.Match[str]) -> str:
            groups, target = match.groupdict(), new(match["target"])
            return (otherwise if target is None else template).format(**groups | {"target": target})

        text = pattern.sub(replaced, text)

    replace(_PICTURE, picture, "![{text}]({target})", "")
    replace(_LINK, page, "[{text}]({target})", "{text}")
    replace(_PICTURE_TAG, picture, "{before}{target}{after}", "")
    replace(_LINK_TAG, page, "{before}{target}{after}{text}</a>", "{text}")
    return _EMPTY.sub("", text)


class ReadmeHook(MetadataHookInterface):
    """Sets the field `readme` from README.md and the address `Repository` of `[project.urls]`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": readme_outside(text, repository),
        }
