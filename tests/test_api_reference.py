"""The API reference: its first page is the README, and pages that show markup are found."""

import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def reference():
    pytest.importorskip("pdoc")
    pytest.importorskip("hatchling")
    loader = SourceFileLoader("reference", str(ROOT / ".ci" / "reference"))
    module = module_from_spec(spec_from_loader("reference", loader))
    loader.exec_module(module)
    return module


def page(text):
    """A docstring as a page shows it."""
    from pdoc.render_helpers import to_html

    return f'<main>== menu<div class="docstring">{to_html(text)}</div>`f(**a, **b)`</main>'


RENDERED = """Text with `code`, **bold** and (n, *shape).

| `kind` | bound |
|--------|-------|
| `best` | t ≤ 1 |

- one: `a`
  and more
- two

```python
x = {"a": 1}  # :func:`f` ====
```

>>> f(**options)
[1]
"""


def test_rendered_markup_is_accepted(reference):
    assert "<table>" in page(RENDERED)
    assert reference.shown_markup(page(RENDERED)) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("==== =====\nkind bound\n==== =====", "table or heading of reStructuredText"),
        ("A :class:`str` as :py:func:`f` says.", "role of reStructuredText"),
        ("As follows::\n\n    x = 1", "directive or literal block of reStructuredText"),
        (".. note:: This.", "directive or literal block of reStructuredText"),
        ("The kinds:\n| kind | bound |\n| best | 1 |", "row of a table"),
        ("A `name without an end.", "backquote"),
        (">>> f(1)\n====", "example"),
    ],
)
def test_markup_that_a_page_shows_is_found(reference, text, what):
    found = reference.shown_markup(page(text))
    assert found
    assert what in {line.partition(":")[0] for line in found}


def test_the_first_page_has_the_pictures_of_the_readme_and_links_to_modules(reference, tmp_path):
    readme = (ROOT / "README.md").read_text("utf-8")
    text = reference.first_page(readme, ["art_flat", "art_flat.attacks"], tmp_path)
    pictures = re.findall(r'<img src="([^"]+)"', text)
    assert pictures == re.findall(r'<img src="([^"]+)"', readme)
    assert pictures
    for picture in pictures:
        assert (tmp_path / picture).read_bytes() == (ROOT / picture).read_bytes()
    assert "(art_flat/attacks.html)" in text
    assert set(re.findall(r"\]\(([^)\s]+)\)", text)) >= {"https://arxiv.org/abs/2510.14231"}
    assert "CONTRIBUTING.md](" not in text
