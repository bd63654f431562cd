"""What a notebook displays of results: the verdict, the brackets over all attacks, and the findings."""

from __future__ import annotations

from .._utils.formatting import counted, percent_of, radius_text
from .._utils.html import html_line, html_table
from ..diagnostics import diagnose
from ..records import Records
from ..summaries import summarise
from .attack_names import shortened
from .headline import Verdict, headlines
from .text import missing_lines, not_run_lines

MOST_NOTES = 8


def results_html(results: Records) -> str:
    """A run as HTML for a notebook.

    Args:
        results: The run.

    Returns:
        A heading, a sentence and a small table per model and norm, and the findings; no arrays.

    >>> from art_flat.testing import example_results
    >>> "L∞" in results_html(example_results())
    True
    """
    n_models, n_attacks = len(results.models), len(results.facts["attacks"])
    heading = (
        f"{counted(n_models, 'model')}, {counted(n_attacks, 'attack')}, "
        f"{counted(results.facts['n_samples'], 'sample')}"
    )
    parts = [html_line(heading, f"{type(results).__name__}:")]
    parts += [html_line(line) for line in [*missing_lines(results), *not_run_lines(results)][:MOST_NOTES]]
    for verdict in headlines(summarise(results)):
        parts += [html_line(verdict.sentence, f"{verdict.title}:"), _table(verdict)]
    parts.append(shortened(diagnose(results)._repr_html_(), results))
    parts.append(
        html_line("summary(columns='main'), findings(), report('report.html') and records() show more.")
    )
    return "\n".join(parts)


def _table(verdict: Verdict) -> str:
    """Certified and attacked shares at every radius, over all attacks."""
    levels = [c.split("@")[1] for c in verdict.rows if str(c).startswith("certified@")]
    shares = [("certified_accuracy", "robust_accuracy")]
    shares += [(f"certified@{e}", f"loss_change_robustness@{e}") for e in levels]
    titles = ["δ", "robust accuracy", *(f"Δℓ ≤ {e} nats" for e in levels)]
    rows = []
    for row in verdict.rows.to_dict("records"):
        cells = []
        for low, high in shares:
            attacked = percent_of(row[high], row["n_evaluated"])
            cells.append(attacked if row[low] != row[low] else f"{100 * row[low]:.1f} … {attacked}")
        rows.append([radius_text(row["delta"]), *cells])
    return html_table(titles, rows)
