"""Prose in code and documents uses plain English; single words are left to codespell (`.codespell/dictionary.txt`)."""

import ast
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
    r": (Which (relative|κ|norm|radius|attack|model|quantile|column|bound)|How many\b|Where to[;.,])": (
        "the noun: definition, norm, number of, destination"
    ),
    r"What to call": "name, callback",
    r"everything random": "all random number generators",
    r"(is|are|was|were|be) set aside": "quarantined, saved",
    r"go(es)? on (with|from|where)": "continues",
    r"lies? (strictly )?flatter": "is flatter",
    r"stands? for the clean point": "counts as the clean point",
    r"in one go\b": "atomically, at once",
    r"as (it|they) (is|are) now|left as (it|they) (is|are|was|were)|comes? back as": "current, unchanged",
    r"(is|are|was|were|be) (not )?looked (at|for)": "considered, evaluated, searched",
    r"ma(de|kes?) (it |them |\w+ )?(again|anew)\b": "rebuilt, computed again",
    r"passed over": "ignored, skipped",
    r"hand(ed|s|ing)? (it |them )?(on|over|back)\b": "pass, return",
    r"walks? (along|with|a fixed|the)": "follows, takes steps",
    r"says? (little|nothing|more|all about)": "underestimates, is not informative, describes",
    r"what (it|they|the attack|an attack|the run|the analyses|`\w+`) (found|gave|saw|wrote|said|was given|returned)": (
        "the noun: result, points, findings"
    ),
    r"most telling": "most informative, most extreme",
    r"(constants?|one) that (you|they) know\b": "known constant",
    r"pulled back": "projected, scaled down",
    r"told apart": "distinguished",
    r"left (it )?right\b": "did not fool",
    r"(is|are|be) asked (about|for|again)": "probed, requested",
    r"knows? (neither|nothing)": "without, does not have",
    r"gives? way": "is replaced",
    r"is after\b": "the goal of",
}
"""Pattern of a phrase → what to write."""

IDENTIFIERS = r"\b(say|said|tell|told|everything|came)(: [A-Z]\w*\W| = |\()"
"""Names that do not say what they hold, where they are bound or called."""


def prose(text: str) -> str:
    """A text on one line: wrapped sentences, comments and adjacent string literals are joined."""
    text = re.sub(r"""(["'])\s*\n\s*f?["']""", "", text)
    return re.sub(r"\s*\n\s*(# )?", " ", text)


PHRASE = re.compile(rf"\b(?:{'|'.join(REPLACEMENTS)})")


def phrases(text: str) -> list[str]:
    """Every phrase of a text that should be replaced, with its surroundings and what to write."""
    text = prose(text)
    return [
        f"…{text[max(0, m.start() - 40) : m.end() + 30]}…: {advice(text, m.start())}"
        for m in PHRASE.finditer(text)
    ]


def advice(text: str, at: int) -> str:
    return next(a for p, a in REPLACEMENTS.items() if re.compile(rf"\b(?:{p})").match(text, at))


def files() -> list[Path]:
    sources = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return sources + [ROOT / name for name in DOCUMENTS]


def test_prose_uses_plain_words():
    found = [
        f"{path.relative_to(ROOT)}: {hit}" for path in files() for hit in phrases(path.read_text("utf-8"))
    ]
    assert not found, "\n" + "\n".join(found)


NOUNS = "|".join(
    "(?:adversarial |clean |clean-correct |open |input )?" + noun
    for noun in ("units", "attacks", "samples", "points", "models", "classes", "features", "labels", "rows")
)
TEMPLATE_NOUN = rf"[}})\w]}} ({NOUNS})\b"


def unguarded_nouns(source: str) -> list[str]:
    """Plural nouns after a number in f-strings, which read "1 units" where the number is 1."""
    texts = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.JoinedStr))
    pairs = (pair for text in texts for pair in zip(text.values, text.values[1:], strict=False))
    return [
        f"{ast.unparse(value.value)}{noun[0]}"
        for value, after in pairs
        if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant)
        if (noun := re.match(rf" ({NOUNS})\b", str(after.value)))
    ]


def test_nouns_follow_their_number():
    sources = ((p, p.read_text("utf-8")) for p in sorted((ROOT / "art_flat").rglob("*.py")))
    found = [f"{p.relative_to(ROOT)}: {hit}" for p, text in sources for hit in unguarded_nouns(text)]
    for page in sorted((ROOT / "art_flat/reporting/page").glob("re*")):  # the template and its script
        found += [f"{page.name}: {m[0]}" for m in re.finditer(TEMPLATE_NOUN, page.read_text("utf-8"))]
    assert not found, "use formatting.counted or percent_of:\n" + "\n".join(found)


def test_a_noun_after_a_number_is_found():
    assert unguarded_nouns('f"{n} units"') == ["n units"]
    assert not unguarded_nouns("f\"{counted(n, 'unit')} added\"")


def test_names_say_what_they_hold():
    sources = ((path, path.read_text("utf-8")) for path in files() if path.suffix == ".py")
    found = [
        f"{path.relative_to(ROOT)}: {m[0]}" for path, text in sources for m in re.finditer(IDENTIFIERS, text)
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "what it gives\n    back",
        '"points that are right "\n    "when clean"',
        "# told\n    # otherwise",
        "is no JSON",
        "seed: Seed of everything random",
        "norm: Which norm; the first of the run if None",
        "a damaged file is set\n    aside",
    ],
)
def test_phrases_are_found_across_lines_and_literals(text):
    assert phrases(text)


def test_plain_text_is_accepted():
    assert not phrases("There is no file; the model has no head, and the function returns NaN.")
