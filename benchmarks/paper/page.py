"""RESULTS.md from the tables of the experiments and the texts of notes.toml."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
from experiments.units import SOURCES

HERE = Path(__file__).resolve().parent


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
        parts += _source(out / source / name, source, f"run.py {name} --source {source}", note, folder)
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
        _markdown(pd.read_csv(place / "table.csv")),
        *(f"{kind}:\n\n{_markdown(pd.read_csv(place / f'{kind}.csv'))}" for kind in facts["more"]),
    ]
    for kind in facts["figures"]:
        path = Path(os.path.relpath(place / f"{kind}.png", folder)).as_posix()
        parts.append(f"![{note['title']}, {SOURCES[source]}: {kind}](<{path}>)")
    return [*parts, f"**Effects** ({held} of {len(effects)} hold):", _markdown(effects)]


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
