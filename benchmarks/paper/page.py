"""RESULTS.md from the tables of the experiments and the texts of notes.toml."""

from __future__ import annotations

import json
import os
import re
import tomllib
from functools import reduce
from pathlib import Path
from typing import Any

import pandas as pd
from experiments.units import SOURCES

from art_flat._utils.formatting import radius_text

HERE = Path(__file__).resolve().parent
WORDS = {
    "loss_change_robustness@": "Δℓ ≤ ", "certified@": "certified Δℓ ≤ ", "0.693147": "log 2", "kappa": "κ",
    "_q50$": ", median", "_min$": ", least", "tpr_at_5_fpr": "true positives at 5 % false ones",
    "_tpr$": ": true positives", "auc": "area under the curve", "r2": "R²", "^delta$": "δ", "_": " ",
}  # fmt: skip
"""Patterns in the names of columns, and what the page says for them, in this order."""


def write_results(out: Path, page: Path) -> None:
    """Write the page from whatever experiments have tables in `out`."""
    notes = tomllib.loads((HERE / "notes.toml").read_text(encoding="utf-8"))
    parts = [notes["head"].strip(), _opening(notes["experiments"], out), notes["reading"].strip()]
    for name, note in notes["experiments"].items():
        parts.append(_section(name, note, out, page.parent))
    parts += [_nets(HERE / "nets"), _costs(notes["experiments"], out)]
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _opening(notes: dict[str, Any], out: Path) -> str:
    """One row per finding: published, on public nets, on own nets, verdict."""
    rows = []
    for name, note in notes.items():
        cells = {source: _headline(out / source / name, note.get(source, "")) for source in SOURCES}
        rows.append({
            "finding": f"[{note['title']}](#{_anchor(note['title'])})", "published": note["figure"],
            **{SOURCES[source]: cell for source, cell in cells.items()}, "verdict": note["in_short"],
        })  # fmt: skip
    return _markdown(pd.DataFrame(rows))


def _headline(folder: Path, effect: str) -> str:
    """A named effect with its interval, and how many of all effects hold."""
    if not (folder / "effects.csv").is_file():
        return "–"
    effects = pd.read_csv(folder / "effects.csv")
    held = f"{(effects['verdict'] == 'holds').sum()} of {len(effects)} effects hold"
    row = effects[effects["effect"] == effect]
    if row.empty:
        return held
    mean, low, high = row[["mean", "95 % low", "95 % high"]].iloc[0]
    return f"{effect}: **{mean:.3g}** [{low:.3g}, {high:.3g}]; {held}"


def _anchor(title: str) -> str:
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -")
    return kept.replace(" ", "-")


def _section(name: str, note: dict[str, Any], out: Path, folder: Path) -> str:
    parts = [f"## {note['title']}", f"**Published.** {note['published']}", f"**Here.** {note['differences']}"]
    sources = [source for source in SOURCES if (out / source / name / "facts.json").is_file()]
    for source in sources:
        parts += _source(
            out / source / name,
            source,
            f"python benchmarks/paper/run.py {name} --source {source}",
            note,
            folder,
        )
    if not sources:
        parts.append("Not run.")
    return "\n\n".join([*parts, f"**Verdict.** {note['verdict']}"])


def _source(place: Path, source: str, command: str, note: dict[str, Any], folder: Path) -> list[str]:
    facts = json.loads((place / "facts.json").read_text(encoding="utf-8"))
    effects = pd.read_csv(place / "effects.csv")
    held = int((effects["verdict"] == "holds").sum())
    parts = [
        f"### On {SOURCES[source]}",
        f"`{command}`: {', '.join(facts['nets'])}; up to {facts['images']} images a net, "
        f"{facts['processor_seconds']} s of processor time.",
        _in_words(pd.read_csv(place / "table.csv")),
        *(f"{kind}:\n\n{_in_words(pd.read_csv(place / f'{kind}.csv'))}" for kind in facts["more"]),
    ]
    pictures = []
    for kind in facts["figures"]:
        path = Path(os.path.relpath(place / f"{kind}.png", folder)).as_posix()
        pictures.append(f"![{note['title']}, {SOURCES[source]}: {kind.replace('-', ' ')}]({path})")
    summary = f"<summary>Effects: {held} of {len(effects)} hold</summary>"
    return [*parts, "\n".join(pictures), f"<details>{summary}\n\n{_markdown(effects)}\n\n</details>"]


def _in_words(table: pd.DataFrame) -> str:
    """A table with columns in words and radii as fractions."""
    shown = table.rename(
        columns=lambda name: reduce(lambda text, pair: re.sub(*pair, text), WORDS.items(), name)
    )
    return _markdown(shown.assign(**{"δ": shown["δ"].map(radius_text)} if "δ" in shown else {}))


def _costs(notes: dict[str, Any], out: Path) -> str:
    rows = []
    for name in notes:
        row: dict[str, Any] = {"experiment": name}
        for source in SOURCES:
            path = out / source / name / "facts.json"
            seconds = (
                json.loads(path.read_text(encoding="utf-8"))["processor_seconds"] if path.is_file() else 0
            )
            row[f"{SOURCES[source]}, minutes"] = round(seconds / 60, 1)
        rows.append(row)
    table = pd.DataFrame(rows)
    total = {"experiment": "together"} | table.drop(columns="experiment").sum().round(1).to_dict()
    what = "Processor time of one core; points that `detection` and `confidence` share are counted in both."
    return f"## Cost\n\n{what}\n\n{_markdown(pd.DataFrame([*rows, total]))}"


def _nets(folder: Path) -> str:
    rows = []
    for card in sorted(folder.glob("*/model_card.md")):
        lines = [line.strip("| ").split(" | ", 1) for line in card.read_text(encoding="utf-8").splitlines()]
        facts = {line[0]: line[1] for line in lines if len(line) == 2}
        rows.append({"net": f"[{card.parent.name}](nets/{card.parent.name}/model_card.md)"} | {
            k: facts.get(k, "") for k in ("network", "training data", "test accuracy", "test loss")
        })  # fmt: skip
    return "## The own nets\n\n" + _markdown(pd.DataFrame(rows))


def _markdown(frame: pd.DataFrame) -> str:
    def shown(value: Any) -> str:
        if isinstance(value, float):
            return "" if value != value else f"{value:.4g}"
        return str(value)

    head = "| " + " | ".join(map(str, frame.columns)) + " |"
    rows = ["| " + " | ".join(shown(v) for v in row) + " |" for row in frame.itertuples(index=False)]
    return "\n".join([head, "|---" * len(frame.columns) + "|", *rows])
