"""Tables in RESULTS.md and other pages: every script keeps its own section between two comments."""

import math
from pathlib import Path

HERE = Path(__file__).resolve().parent


def markdown(rows):
    """The rows as a table."""
    columns = list(max(rows, key=len))

    def text(value):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "–"
        if isinstance(value, bool):
            return "yes" if value else ""
        if isinstance(value, float):
            return f"{value:.3g}"
        return str(value).replace("|", "\\|").replace("\n", " ")

    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(text(r.get(c, "")) for c in columns) + " |" for r in rows])


def section(name, text, page="RESULTS.md"):
    """Put a text between the markers of this name in a page beside this file, at the end if it has none."""
    path = HERE / page
    before = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    start, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->\n"
    block = start + text + end
    if start in before and end in before:
        head, rest = before.split(start, 1)
        after = head + block + rest.split(end, 1)[1]
    else:
        after = before.rstrip("\n") + "\n\n" + block
    path.write_text(after, encoding="utf-8")
