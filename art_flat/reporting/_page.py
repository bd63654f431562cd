"""`write_report`: the report as one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from .._utils.files import write_atomically
from .._utils.formatting import counted, norm_sign, radius_text
from .._utils.validation import check_definition
from ..diagnostics import diagnose
from ..diagnostics.finding import SEVERITIES
from ..records import Records
from ..summaries import failures, optimality, summarise
from ..typing import Definition
from ._analyses import read_findings
from ._data import middle, page_data
from ._first_page import first_page
from ._strongest import strongest, with_optimality
from ._verdict import verdicts
from .attack_names import shortened, with_short_names
from .text import failure_counts, not_run_lines, target_lines

_PARTS = files(__package__) / "page"
SCRIPTS = ("plotly-cartesian.min.js", "look.js", "table.js", "valley.js", "report.js")
"""Scripts of the page, in the order in which they run."""
_BREAKS = re.compile(r"(?<=,)(?=\S)|(?<=\w\()(?=\S)")
"""Where a long name of an attack may be broken between lines: after a comma or the opening bracket."""


def write_report(results: Records, path: str | os.PathLike[str], definition: Definition = "paper") -> Path:
    """Write the report of a run as one self-contained HTML file; no model is run.

    Args:
        results: The run; analyses beside its records are shown too.
        path: Destination; an existing file is replaced once the new one is complete. In a folder, `report.html`.
        definition: Definition of the relative sharpness κ.

    Returns:
        The path.

    Raises:
        UnknownNameError: If the definition is unknown.

    >>> import tempfile
    >>> from art_flat.testing import example_results
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(example_results(), folder).name
    'report.html'
    """
    text = render(results, check_definition(definition))
    path = Path(path)
    path = path / "report.html" if path.is_dir() else path
    write_atomically(path, text)
    return path


def render(results: Records, definition: Definition = "paper") -> str:
    """The page as text.

    Args:
        results: The run.
        definition: Definition of the relative sharpness κ.

    Returns:
        HTML. Its policy allows the page's own scripts, by their hashes, and nothing from outside.
    """
    import jinja2
    from markupsafe import Markup

    summary = summarise(results, definition=definition)
    scores = with_short_names(with_optimality(summary, optimality(results)), results)
    epsilon = f"{middle(results.facts['epsilons']):g}"
    best = strongest(scores)
    scripts = [_part(name) for name in SCRIPTS]
    hashes = " ".join(f"'sha256-{_sha256(s)}'" for s in scripts)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["counted"] = counted
    environment.filters["norm_sign"] = norm_sign
    environment.filters["breakable"] = lambda text: Markup("<wbr>").join(
        _BREAKS.split(str(text).replace(" %", "\xa0%"))
    )
    template = environment.from_string(_part("report.html.j2"))
    data, failed = page_data(results, definition, scores), failures(results)
    return template.render(
        policy=f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(_part("report.css")),
        scripts=[Markup(s) for s in scripts],
        data=Markup(as_json(data)),
        first_page=first_page(scores, best, epsilon),
        verdicts=verdicts(scores),
        strongest=best,
        target_notes=target_lines(results),
        units=_units(results),
        left_out=results.facts.get("left_out", []),
        not_run=[shortened(line, results) for line in not_run_lines(results)],
        failures=with_short_names(failed, results).to_dict("records"),
        failure_counts=failure_counts(failed) if len(failed) else "",
        findings=_findings(results),
        models=results.models.to_dict("records"),
        facts=results.facts,
        definition=definition,
        stated=data["stated"],
        sequences=", ".join(dict.fromkeys(row["attack"] for row in data["table"] if row["steps"])),
        transfer=bool((results.adversarial["model"] != results.adversarial["source_model"]).any()),
        radius=radius_text,
        images=data["images"],
        epsilon=epsilon,
        sign=norm_sign,
        config=_config(results),
        seconds=float(results.adversarial["seconds"].sum()),
    )  # fmt: skip


def _findings(results: Records) -> list[dict[str, Any]]:
    """Findings of the records, then those of the analyses alone; equal ones are merged, the most severe first."""
    findings: list[dict[str, Any]] = [
        {
            "id": f.id,
            "severity": f.severity,
            "what": shortened(f.what, results),
            "advice": f.advice,
            "samples": f.samples[:50],
        }
        | {"n": len(f.samples)}
        for f in diagnose(results)
    ]
    recorded = {f["id"] for f in findings}
    findings += [
        {**f, "samples": (), "n": 0} for f in read_findings(results.folder) if f["id"] not in recorded
    ]
    grouped: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for f in findings:
        grouped.setdefault((f["id"], f["severity"], f["advice"]), []).append(f)
    cards = [{"id": i, "severity": s, "advice": a, "cases": cases} for (i, s, a), cases in grouped.items()]
    return sorted(cards, key=lambda f: SEVERITIES.index(f["severity"]) if f["severity"] in SEVERITIES else 9)


def as_json(value: Any) -> str:
    """JSON that is safe inside a script element: it contains no `<`, `>` or `&`."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _units(results: Records) -> dict[str, int]:
    rows = results.adversarial
    status = rows.groupby("unit")["status"].agg(lambda s: "failed" if (s == "failed").any() else s.iloc[0])
    return {
        "total": results.total_units,
        "missing": results.missing_units,
        "failed": int((status == "failed").sum()),
        "skipped": int((status == "skipped").sum()),
    }


def _config(results: Records) -> str | None:
    path = None if results.folder is None else results.folder / "config.toml"
    try:
        return None if path is None else path.read_text(encoding="utf-8")
    except OSError:
        return None
