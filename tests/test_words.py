"""Prose in code and documents uses plain English; single words are left to codespell (`.codespell/dictionary.txt`)."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("art_flat", "plugins")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "plugins/README.md", "benchmarks/README.md")

REPLACEMENTS = {
    r"g[ai]ves? (it |them )?back|given back": "return, returned",
    r"puts? (it |them )?back|putting (\w+ )?(\w+ )?back": "restore, restored",
    r"(right|wrong) when clean": "clean-correct, misclassified before the attack",
    r"turn(s|ed)? wrong": "is misclassified",
    r"at (its|their) word": "not verified",
    r"in earnest|on paper\b|at home in|live in": "a plain statement",
    r"code of others": "third-party code",
    r"unless told|told otherwise": "by default",
    r"(is|was|are|were) told": "gets, is passed, is notified",
    r"must be such as": "must look like",
    r"begun with": "created with",
    r"no use for": "does not take",
    r"nothing can be said": "no results, undetermined",
    r"the (door|face) (to|of)|one door|one face": "the function, the interface",
    r"of another training": "belongs to a different training run",
    r"of errors of ours|errors of ours": "art_flat's errors",
    r"looks? for the largest": "maximises",
    r"(?<!there )(?<!There )(is|are|was|were) no (?!longer|more|less|lower|better|worse|larger|smaller)\w": (
        "is not a, are not"
    ),
    r"(is|are|was|were) others\b": "differ",
    r"DESIGN|STYLE\.md|WORDS\.md": "documents that users do not have are not cited",
    r"whatever|whoever": "any, regardless of",
    r"(as|the way) (it|they) (was|were) (before|written|found)": "unchanged",
}
"""Pattern of a phrase → what to write."""


def prose(text: str) -> str:
    """A text on one line: wrapped sentences, comments and adjacent string literals are joined."""
    text = re.sub(r"""(["'])\s*\n\s*f?["']""", "", text)
    return re.sub(r"\s*\n\s*(# )?", " ", text)


def phrases(text: str) -> list[str]:
    """Every phrase of a text that should be replaced, with its surroundings and what to write."""
    text = prose(text)
    return [
        f"…{text[max(0, m.start() - 40) : m.end() + 30]}…: {advice}"
        for pattern, advice in REPLACEMENTS.items()
        for m in re.finditer(rf"\b(?:{pattern})", text)
    ]


def files() -> list[Path]:
    sources = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return sources + [ROOT / name for name in DOCUMENTS]


def test_prose_uses_plain_words():
    found = [
        f"{path.relative_to(ROOT)}: {hit}" for path in files() for hit in phrases(path.read_text("utf-8"))
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "what it gives\n    back",
        '"points that are right "\n    "when clean"',
        "# told\n    # otherwise",
        "is no JSON",
    ],
)
def test_phrases_are_found_across_lines_and_literals(text):
    assert phrases(text)


def test_plain_text_is_accepted():
    assert not phrases("There is no file; the model has no head, and the function returns NaN.")
