"""Names that docstrings refer to exist, so that the links of the API reference lead somewhere."""

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
