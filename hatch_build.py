"""Builds the distribution's README: outside the repository, pictures and links need absolute addresses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_CODE = re.compile(r"(```.*?```)", flags=re.DOTALL)
_TARGET = r"(?!https?:|mailto:|#|data:)(?P<target>[^\s\"')]+)"
_PICTURE = re.compile(rf"!\[(?P<text>[^\]]*)\]\({_TARGET}\)")
_LINK = re.compile(rf"(?<!!)\[(?P<text>[^\]]*)\]\({_TARGET}\)")
_ATTRIBUTE = re.compile(rf"(?P<name>src|srcset|href)=\"{_TARGET}\"")
_TAGS = re.compile(r"</?(picture|source|img)\b[^>]*>")


def readme_outside(text: str, repository: str | None) -> str:
    """The README with addresses that hold outside the repository.

    Args:
        text: Markdown with targets relative to the root of the repository.
        repository: Its address; if None, pictures are left out and links become their text.

    Returns:
        The text.
    """
    parts = _CODE.split(text)
    return "".join(part if i % 2 else _outside(part, repository) for i, part in enumerate(parts))


def _outside(text: str, repository: str | None) -> str:
    if repository is None:
        return _LINK.sub(r"\g<text>", _TAGS.sub("", _PICTURE.sub("", text)))
    raw, page = f"{repository.rstrip('/')}/raw/HEAD/", f"{repository.rstrip('/')}/blob/HEAD/"
    text = _PICTURE.sub(lambda m: f"![{m['text']}]({raw}{m['target']})", text)
    text = _LINK.sub(lambda m: f"[{m['text']}]({page}{m['target']})", text)
    return _ATTRIBUTE.sub(
        lambda m: f'{m["name"]}="{page if m["name"] == "href" else raw}{m["target"]}"', text
    )


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
