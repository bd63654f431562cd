"""The command line: `art-flat demo`, `init`, `check`, `run`, `plan`, `merge`, `summary`, `report`, `attacks`, `train`.

Heavy packages are imported only by the commands that need them, so that `--help` is fast.
"""

from __future__ import annotations

import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from .._utils.formatting import counted
from ..errors import ArtFlatError
from .interrupts import interrupted
from .plans import PROBE_SECONDS, analysis_lines, load_setup, plan_setup
from .show import open_console, print_line, run_and_show, show_results
from .terminal import use_safe_streams

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
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace one key of the configuration, such as data.n=50; may be repeated.",
    ),
]
Wide = Annotated[
    bool,
    typer.Option("--wide", help="Tables with every quantity of every attack and radius, for 160 columns."),
]
Epsilons = Annotated[
    list[float] | None, typer.Option("--epsilon", help="Tolerated loss change in nats; may be repeated.")
]


NOTHING_WRITTEN = "interrupted; nothing was written"
UNITS_KEPT = "interrupted; finished units are kept, and the same command continues from there"


@app.command()
def demo(out: Out = Path("art-flat-demo"), wide: Wide = False) -> None:
    """See it work: a small CNN, offline, a minute."""
    console = open_console(160 if wide else 100)
    with interrupted(UNITS_KEPT):
        print_line(console, "loading the packages")
        import torch

        from .demo import closing_lines, demo_config

        torch.set_num_threads(1)  # the net is too small to gain from threads
        config, folder = demo_config(out, partial(print_line, console))
        results = run_and_show(config, folder, out, console, wide=wide)
        for line in closing_lines(results):
            print_line(console, line)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The new file.")] = Path("config.toml"),
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="PACKAGE.MODULE:MAKE", help="Your model; without it a small CNN for digits."
        ),
    ] = None,
) -> None:
    """Write a commented configuration to start from."""
    from .starter import write_starter

    write_starter(path, model)
    print_line(open_console(), f"{path} written; next: art-flat check {path}")


@app.command()
def check(
    config: Config,
    overrides: Overrides = None,
    target: Target = None,
    certify: Certify = None,
    trust: Trust = False,
) -> None:
    """Check models, data and cost before a run; nothing is written."""
    started = time.perf_counter()
    console = open_console()
    notify = partial(print_line, console)
    with interrupted(NOTHING_WRITTEN):
        notify("loading the packages")
        from .check import report_check
        from .tables import plan_lines

        setup = load_setup(
            config, overrides, notify, started=started, trust=trust, target=target, certify=certify
        )
        is_sound = report_check(setup.models, setup.data, setup.options, notify)
        notify("measuring each attack on a few samples")
        made = plan_setup(setup, PROBE_SECONDS)
        for line in [*plan_lines(made, [1]), *analysis_lines(setup)]:
            notify(line)
    notify(f"next: art-flat run {config} --out results")
    if not is_sound:
        raise typer.Exit(1)


@app.command()
def run(
    config: Config,
    out: Out,
    overrides: Overrides = None,
    n_jobs: Annotated[
        int | None, typer.Option("--n-jobs", help="Worker processes; -1 for one per core.")
    ] = None,
    part: Annotated[
        str | None, typer.Option("--part", help="Compute a share of the units only, such as 3/16; see merge.")
    ] = None,
    target: Target = None,
    certify: Certify = None,
    trust: Trust = False,
    wide: Wide = False,
) -> None:
    """Evaluate models from a configuration file; an interrupted run is resumed."""
    console = open_console(160 if wide else 100)
    with interrupted(UNITS_KEPT):
        print_line(console, "loading the packages")
        from .config import read_config

        parsed, folder = read_config(config, overrides or (), target=target, certify=certify)
        run_and_show(parsed, folder, out, console, n_jobs=n_jobs, part=part, trust=trust, wide=wide)


@app.command()
def plan(
    config: Config,
    workers: Annotated[
        list[int] | None, typer.Option("--workers", min=1, help="Number of workers; may be repeated.")
    ] = None,
    probe_seconds: Annotated[
        float, typer.Option("--probe-seconds", help="Duration of each measurement.")
    ] = 0.3,
    overrides: Overrides = None,
    target: Target = None,
    certify: Certify = None,
    trust: Trust = False,
) -> None:
    """Estimate the cost of a run by attack; measures each on a few samples."""
    started = time.perf_counter()
    console = open_console()
    notify = partial(print_line, console)
    with interrupted(NOTHING_WRITTEN):
        notify("loading the packages")
        from .tables import plan_lines, plan_table

        setup = load_setup(
            config, overrides, notify, started=started, trust=trust, target=target, certify=certify
        )
        notify("measuring each attack on a few samples")
        made = plan_setup(setup, probe_seconds)
        console.print(plan_table(made))
        for line in [*plan_lines(made, workers or [1, 2, 4, 16]), *analysis_lines(setup)]:
            notify(line)


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Results folders of parts of one run.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Destination; the first folder by default.")
    ] = None,
) -> None:
    """Merge parts of a run; repeating it changes nothing."""
    from ..evaluation import merge as put_together

    console = open_console()
    done = put_together(folders, out)
    for line in done.damaged:
        console.print(f"left out: {line}", soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"{done.results.folder}: {counted(done.added, 'unit')} added", soft_wrap=True, highlight=False
    )
    show_results(done.results, console)


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

    console = open_console()
    with interrupted("interrupted; the same command continues from the last checkpoint"):
        parsed, folder = read_train_config(config)
        command = f"art-flat train {config} --out {out}"
        with training_progress(console) as (progress, notify), stopping_between_steps(progress) as update:
            facts = train_from_config(parsed, folder, out, progress=update, notify=notify, command=command)
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
    wide: Wide = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print every column as CSV instead of a table.")] = False,
) -> None:
    """Show the tables of a run again, for any ε; no model is run."""
    from ..evaluation import Results

    results = Results.load(folder)
    if csv:
        frame = results.summary(epsilon or None, definition)  # type: ignore[arg-type]
        sys.stdout.write(frame.to_csv(index=False))
        return
    show_results(results, open_console(160 if wide else 100), epsilon or None, definition, wide=wide)  # type: ignore[arg-type]


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Results folder of a run.")],
    out: Annotated[Path | None, typer.Option("--out", help="HTML file; DIR/report.html by default.")] = None,
    definition: Annotated[
        str, typer.Option(help="Relative sharpness: paper, neuronwise or unsquared.")
    ] = "paper",
) -> None:
    """Write the report again, one HTML file; no model is run."""
    from ..evaluation import Results

    results = Results.load(folder)
    path = results.report(out or folder / "report.html", definition)  # type: ignore[arg-type]
    open_console().print(f"report: {path}", soft_wrap=True, highlight=False, markup=False)


@app.command()
def attacks(
    name: Annotated[str | None, typer.Argument(help="One attack, for its parameters and notes.")] = None,
) -> None:
    """List all attacks, or describe one."""
    from ..attacks import list_attacks, load_attack
    from .tables import attack_details, attack_table

    console = open_console(160)
    if name is None:
        console.print(attack_table(list_attacks().values()))
    else:
        console.print(attack_details(load_attack(name).info), soft_wrap=True, highlight=False)


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
