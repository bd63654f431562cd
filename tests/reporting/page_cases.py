"""The text of a report's page, for the tests of what it shows."""

import tempfile
from pathlib import Path

from art_flat.reporting import write_report


def render(results):
    with tempfile.TemporaryDirectory() as folder:
        return write_report(results, Path(folder) / "report.html").read_text(encoding="utf-8")
