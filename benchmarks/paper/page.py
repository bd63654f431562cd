"""RESULTS.md from the tables of the experiments and the texts of notes.toml."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd

HERE = Path(__file__).resolve().parent


def write_results(out: Path, page: Path) -> None:
    """Write the page from whatever experiments have tables in `out`."""
    notes = tomllib.loads((HERE / "notes.toml").read_text(encoding="utf-8"))
    parts = [notes["head"].strip(), _nets(HERE / "nets")]
    for name, note in notes["experiments"].items():
        if (out / f"{name}.csv").exists():
            parts.append(_section(name, note, out, page.parent))
        else:
            parts.append(f"## {note['title']}\n\nNot run.")
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _section(name: str, note: dict[str, Any], out: Path, folder: Path) -> str:
    facts = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    settings = {k: v for k, v in facts["settings"].items() if k not in {"nets", "attacks", "tried"}}
    said = ", ".join(f"{k} {v}" for k, v in settings.items())
    nets = ", ".join(facts["settings"]["nets"])
    effects = pd.read_csv(out / f"{name}-effects.csv")
    held = int((effects["verdict"] == "holds").sum())
    parts = [
        f"## {note['title']}",
        f"**Published.** {note['published']}",
        f"**Ours.** `python benchmarks/paper/run.py {name}`: {nets}; {said}. {facts['processor_seconds']:.0f} s of "
        f"processor time. {note['differences']}",
        _markdown(pd.read_csv(out / f"{name}.csv")),
        *(f"{kind}:\n\n{_markdown(pd.read_csv(out / f'{name}-{kind}.csv'))}" for kind in facts["more"]),
    ]
    for kind in facts["figures"]:
        place = Path(os.path.relpath(out / f"{name}-{kind}.png", folder)).as_posix()
        parts.append(f"![{note['title']}: {kind}]({place})")
    parts += [
        f"**Effects** ({held} of {len(effects)} hold):",
        _markdown(effects),
        f"**Verdict.** {note['verdict']}",
    ]
    return "\n\n".join(parts)


def _nets(folder: Path) -> str:
    rows = []
    for card in sorted(folder.glob("*/model_card.md")):
        lines = [line.strip("| ").split(" | ", 1) for line in card.read_text(encoding="utf-8").splitlines()]
        facts = {line[0]: line[1] for line in lines if len(line) == 2}
        rows.append({"net": f"[{card.parent.name}](nets/{card.parent.name}/model_card.md)"} | {
            k: facts.get(k, "") for k in ("network", "training data", "test accuracy", "test loss")
        })  # fmt: skip
    return "## The nets\n\n" + _markdown(pd.DataFrame(rows))


def _markdown(frame: pd.DataFrame) -> str:
    def shown(value: Any) -> str:
        if isinstance(value, float):
            return "" if value != value else f"{value:.4g}"
        return str(value)

    head = "| " + " | ".join(map(str, frame.columns)) + " |"
    rows = ["| " + " | ".join(shown(v) for v in row) + " |" for row in frame.itertuples(index=False)]
    return "\n".join([head, "|---" * len(frame.columns) + "|", *rows])
