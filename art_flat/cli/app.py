"""The command line: `art-flat demo`, `run`, `plan`, `merge`, `summary`, `report`, `attacks`.

Heavy packages are imported only by the commands that need them, so that `--help` is fast.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..errors import ArtFlatError
from .terminal import use_safe_streams

if TYPE_CHECKING:
    from ..evaluation import Results
    from .config import RunConfig

app = typer.Typer(
    name="art-flat",
    help="Loss-change robustness, flatness and certificates for classifiers in ART.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Out = Annotated[Path, typer.Option("--out", help="Results folder; a run found there is resumed.")]
Config = Annotated[Path, typer.Argument(help="Configuration in TOML; see the README.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Read pickled weights, which can run any code when opened.")
]
Certify = Annotated[
    str | None,
    typer.Option(
        "--certify", help="Kind of certificates: auto (the default), lipschitz, crown, branch or none."
    ),
]
Target = Annotated[
    str | None,
    typer.Option("--target", help="Target every attack; overrides the configuration: least-likely or next."),
]
Epsilons = Annotated[
    list[float] | None, typer.Option("--epsilon", help="Tolerated loss change in nats; may be repeated.")
]


@app.command()
def demo(out: Out = Path("art-flat-demo")) -> None:
    """Train a small CNN on scikit-learn's digits and evaluate it: offline, in about a minute."""
    import torch

    from .demo import demo_config

    torch.set_num_threads(1)  # the net is too small to gain from threads
    console = _console()
    config, folder = demo_config(out, console.print)
    _run_and_show(config, folder, out, console)


@app.command()
def run(
    config: Config,
    out: Out,
    n_jobs: Annotated[
        int | None, typer.Option("--n-jobs", help="Worker processes; -1 for one per core.")
    ] = None,
    part: Annotated[
        str | None, typer.Option("--part", help="Compute a share of the units only, such as 3/16; see merge.")
    ] = None,
    target: Target = None,
    certify: Certify = None,
    trust: Trust = False,
) -> None:
    """Evaluate your own models and data from a configuration file; an interrupted run is resumed."""
    from .config import read_config

    parsed, folder = read_config(config, target=target, certify=certify)
    _run_and_show(parsed, folder, out, _console(), n_jobs=n_jobs, part=part, trust=trust)


@app.command()
def plan(
    config: Config,
    workers: Annotated[
        list[int] | None, typer.Option("--workers", min=1, help="Number of workers; may be repeated.")
    ] = None,
    probe_seconds: Annotated[
        float, typer.Option("--probe-seconds", help="Duration of each measurement.")
    ] = 0.3,
    target: Target = None,
    certify: Certify = None,
    trust: Trust = False,
) -> None:
    """Estimate the cost of a run before it starts: measures each attack on a few samples."""
    started = time.perf_counter()
    from ..evaluation import plan as make_plan
    from .config import read_config
    from .run import prepare
    from .tables import plan_lines, plan_table

    console = _console()
    parsed, folder = read_config(config, target=target, certify=certify)
    data, models, options = prepare(parsed, folder, console.print, trust=trust)
    made = make_plan(
        models, data.x, data.y, **options, probe_seconds=probe_seconds,
        start_seconds=time.perf_counter() - started,
    )  # fmt: skip
    console.print(plan_table(made))
    for line in plan_lines(made, workers or [1, 2, 4, 16]):
        console.print(line, soft_wrap=True, highlight=False)


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Results folders of parts of one run.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Destination; the first folder by default.")
    ] = None,
) -> None:
    """Merge parts of a run; repeating it changes nothing."""
    from ..evaluation import merge as put_together

    console = _console()
    done = put_together(folders, out)
    for line in done.damaged:
        console.print(f"left out: {line}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"{done.results.folder}: {done.added} units added", soft_wrap=True, highlight=False)
    _show(done.results, console, None, "paper")


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="Configuration in TOML; see the README.")],
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder for weights and model card; a training found there is resumed."),
    ],
) -> None:
    """Train a network from a configuration file; an interrupted training is resumed."""
    from .train import read_train_config, train_from_config
    from .train_progress import stopping_between_steps, training_progress

    parsed, folder = read_train_config(config)
    console = _console()
    try:
        with training_progress(console) as (progress, notify), stopping_between_steps(progress) as update:
            command = f"art-flat train {config} --out {out}"
            facts = train_from_config(parsed, folder, out, progress=update, notify=notify, command=command)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command continues from the last checkpoint\n")
        raise typer.Exit(130) from None
    if "test accuracy" in facts:
        console.print(
            f"test accuracy {facts['test accuracy']}, test loss {facts['test loss']}", highlight=False
        )
    console.print(f"weights, model card, history, checkpoint: {out}/", soft_wrap=True, highlight=False)


@app.command()
def summary(
    folder: Annotated[Path, typer.Argument(help="Results folder of a run.")],
    epsilon: Epsilons = None,
    definition: Annotated[
        str, typer.Option(help="Relative sharpness: paper, neuronwise or unsquared.")
    ] = "paper",
    csv: Annotated[bool, typer.Option("--csv", help="Print every column as CSV instead of a table.")] = False,
) -> None:
    """Show the summary of a run again, for any ε; no model is run."""
    from ..evaluation import Results

    results = Results.load(folder)
    if csv:
        frame = results.summary(epsilon or None, definition)  # type: ignore[arg-type]
        sys.stdout.write(frame.to_csv(index=False))
        return
    _show(results, _console(), epsilon or None, definition)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Results folder of a run.")],
    out: Annotated[Path | None, typer.Option("--out", help="HTML file; DIR/report.html by default.")] = None,
    definition: Annotated[
        str, typer.Option(help="Relative sharpness: paper, neuronwise or unsquared.")
    ] = "paper",
) -> None:
    """Write the report of a run again: one HTML file that opens from disk; no model is run."""
    from ..evaluation import Results

    results = Results.load(folder)
    path = results.report(out or folder / "report.html", definition)  # type: ignore[arg-type]
    _console().print(f"report: {path}", soft_wrap=True, highlight=False, markup=False)


@app.command()
def attacks(
    name: Annotated[str | None, typer.Argument(help="One attack, for its parameters and notes.")] = None,
) -> None:
    """List all attacks, or describe one."""
    from ..attacks import list_attacks, load_attack
    from .tables import attack_details, attack_table

    console = _console()
    if name is None:
        console.print(attack_table(list_attacks().values()))
    else:
        console.print(attack_details(load_attack(name).info), soft_wrap=True, highlight=False)


def _run_and_show(config: RunConfig, folder: Path, out: Path, console: Console, **options: Any) -> None:
    from ..evaluation.progress import run_progress
    from .run import run_config

    try:
        with run_progress(console) as (progress, notify):
            results = run_config(config, folder, out, progress, notify, **options)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; finished units are kept, and the same command continues from there\n")
        raise typer.Exit(130) from None
    _show(results, console, None, "paper")
    console.print(f"records, summary, configuration and environment: {out}/", soft_wrap=True, highlight=False)
    if not results.missing_units:
        console.print(f"report: {results.report(out / 'report.html')}", soft_wrap=True, highlight=False)


def _show(results: Results, console: Console, epsilons: list[float] | None, definition: str) -> None:
    from ..reporting.text import (
        error_lines,
        failure_lines,
        finding_lines,
        not_run_lines,
        summary_notes,
        target_lines,
    )
    from .tables import summary_table

    if results.missing_units:
        console.print(
            f"{results.missing_units} of {results.total_units} units are missing; the command of the run continues "
            "with them, and `art-flat merge` merges parts",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
        return
    for line in not_run_lines(results):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    frame = results.summary(epsilons, definition)  # type: ignore[arg-type]
    for line in error_lines(results):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for table in summary_table(frame, definition):
        console.print(table)
    notes = [*target_lines(results), *summary_notes(frame), *failure_lines(results), *finding_lines(results)]
    for line in notes:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _console() -> Console:
    # bind the stream now, because attacks run with sys.stdout redirected
    stream = sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 160)


def _plain_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    sys.stderr.write(f"warning: {message}\n")


def main() -> None:
    """Run the command line: art_flat's errors are one message without a traceback, and exit code 2."""
    warnings.showwarning = _plain_warning
    use_safe_streams()
    try:
        app()
    except ArtFlatError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
