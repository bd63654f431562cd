"""Speed in one run: python benchmarks/run.py NAME|all [--quick] [--seconds 20] [--threads 1] [--out DIR] [--data DIR]

Each benchmark writes NAME.json (the latest run on each processor, with its environment) and NAME.md (this run) into
benchmarks/results; the tables in benchmarks/README.md are made anew from all of them. `--list` shows the names.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = {
    "forward": "κ and everything at once against the bare model; features against ART",
    "head": "κ after a linear layer of ImageNet's size",
    "peers": "κ against BackPACK, curvlinops, PyHessian, autograd",
    "attacks": "attacks with their records against the bare libraries",
    "suite": "evaluate over the suite fast against the bare attacks",
    "probe": "tracing an attack against the bare attack",
    "regularizer": "the flatness penalty against a plain training step",
    "scoring": "1,500,000 records and 50 values of ε",
    "memory": "memory while samples stream through",
    "imports": "import art_flat and art-flat --help",
    "growth": "time against n, k, d, attacks and radii",
}
START, END = "<!-- table: made by run.py -->", "<!-- end of table -->"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="\n".join(f"{n}: {t}" for n, t in NAMES.items())
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything runs")
    parser.add_argument("--seconds", type=float, default=20.0, help="about how long each comparison may take")
    parser.add_argument("--threads", type=int, help="threads of torch; as the environment says if left out")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where JSON and Markdown go")
    parser.add_argument("--data", type=Path, help="folder with MNIST/raw in it")
    parser.add_argument("--list", action="store_true", help="show the names")
    options = parser.parse_args(arguments)
    if options.list or not options.names:
        print("\n".join(f"{name:12} {title}" for name, title in NAMES.items()))
        return 0 if options.list else 2
    wanted = list(NAMES) if "all" in options.names else options.names
    unknown = [name for name in wanted if name not in NAMES and name != "table"]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}, and all")
    if options.threads:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before torch is imported
    sys.path.insert(0, str(HERE))
    harness = importlib.import_module("speed._harness")
    if options.threads:
        importlib.import_module("torch").set_num_threads(options.threads)
    data = {} if options.data is None else {"data": options.data}
    settings = harness.Settings(quick=options.quick, seconds=options.seconds, **data)
    for name in wanted:
        if name == "table":
            continue
        print(f"## {name}: {NAMES[name]}", flush=True)
        rows = importlib.import_module(f"speed.{name}").measure(settings)
        harness.write(name, rows, options.out)
        print((options.out / f"{name}.md").read_text(), flush=True)
    if not options.quick and options.out == HERE / "results":
        table(HERE / "README.md", options.out, harness)
    return 0


def table(page: Path, folder: Path, harness) -> None:
    """Put the latest rows of every benchmark into the page, between two marks."""
    parts = []
    for name, title in NAMES.items():
        runs = harness.runs(folder / f"{name}.json")
        if not runs:
            continue
        section = [f"### {name}: {title}"]
        for run in runs:
            where = run["environment"]
            made = f"{where['date']}, {where['processor']}, {where['threads']} thread(s)"
            section += [harness.markdown(run["rows"]), f"*{made}*"]
        if (folder / f"{name}.png").exists():
            section.append(f"![{name}](results/{name}.png)")
        parts.append("\n\n".join(section))
    text = page.read_text()
    if START in text and END in text:
        before, rest = text.split(START, 1)
        page.write_text(f"{before}{START}\n\n" + "\n\n".join(parts) + f"\n\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    sys.exit(main())
