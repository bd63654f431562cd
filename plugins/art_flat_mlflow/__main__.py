"""`python -m art_flat_mlflow DIR`: log a results folder, also from another environment than the one that made it."""

from __future__ import annotations

import argparse
import sys

from art_flat import Results
from art_flat.errors import ArtFlatError

from ._log import log_results


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; art_flat's errors are one message and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m art_flat_mlflow",
        description="Log a results folder of art_flat to MLflow: one run, with one nested run per attack.",
    )
    parser.add_argument("folder", help="results folder of a run")
    parser.add_argument(
        "--tracking-uri", help="such as sqlite:///mlflow.db; MLflow's own setting if not given"
    )
    parser.add_argument(
        "--experiment", default="art_flat", help="made if it does not exist (default: art_flat)"
    )
    parser.add_argument("--artifact-location", help="where a new experiment keeps its files")
    parser.add_argument("--run-name", help="default: the folder's name")
    parser.add_argument("--points", action="store_true", help="also the points, where the run kept them")
    given = parser.parse_args(arguments)
    try:
        run_id = log_results(
            Results.load(given.folder), tracking_uri=given.tracking_uri, experiment=given.experiment,
            artifact_location=given.artifact_location, run_name=given.run_name, points=given.points,
        )  # fmt: skip
    except ArtFlatError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{run_id}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
