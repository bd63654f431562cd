"""Start-up time: `import art_flat` and `art-flat --help`, in fresh processes, against `python -c pass`."""

from __future__ import annotations

import os
import statistics
import subprocess
import time

from ._harness import Row, Settings, python


def measure(settings: Settings) -> list[Row]:
    commands = {
        "pass": python("-c", "pass"),
        "import": python("-c", "import art_flat"),
        "help": python("-m", "art_flat", "--help"),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(settings.size(21, 2) + 1):
        for name, command in commands.items():
            before, started = os.times(), time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            wall, after = time.perf_counter() - started, os.times()
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            if turn:  # the first fills the caches
                taken[name].append((cpu, wall))

    def median(name, clock):
        return statistics.median(t[clock] for t in taken[name])

    def row(what, against, cpu, wall, limit, target):
        figure = f"{cpu:.3f} s, wall {wall:.3f} s"
        return Row(what, against, figure, target, cpu < limit, details={"cpu": cpu, "wall": wall})

    more = [median("import", clock) - median("pass", clock) for clock in (0, 1)]
    return [
        row("`import art_flat`", "`python -c pass`, beyond it", *more, 0.15, "+ < 0.15 s"),
        row("`art-flat --help`", "", median("help", 0), median("help", 1), 0.5, "< 0.5 s"),
    ]
