"""Names that docstrings refer to exist, so that the links of the API reference lead somewhere."""

import ast
import pkgutil
import re

from layout import source_files

NAMED = re.compile(r"`(art_flat(?:\.\w+)+)(?:\(.*?\))?`")


def test_dotted_names_in_docstrings_resolve():
    found = {
        (module, name)
        for module, path in source_files().items()
        for name in NAMED.findall(path.read_text("utf-8"))
    }
    assert len(found) > 20
    missing = []
    for module, name in sorted(found):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            missing.append(f"{module}: {name}")
    assert missing == []


def test_docstrings_are_markdown():
    markup = re.compile(r"^\s*(={3,}|-{3,}|~{3,})( |$)|:[a-z]+:`|^\s*\.\. \w|::$", flags=re.MULTILINE)
    found = []
    for module, path in source_files().items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                found += [f"{module}: {match[0].strip()}" for match in markup.finditer(text)]
    assert found == []
