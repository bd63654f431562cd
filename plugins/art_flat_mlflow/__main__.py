"""`python -m art_flat_mlflow DIR`: log a results folder, also from a different environment than that of the run."""

from __future__ import annotations

import argparse
import sys

from art_flat import Results
from art_flat.errors import ArtFlatError

from ._log import log_results


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; art_flat's errors are printed as one message, with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m art_flat_mlflow",
        description="Log a results folder of art_flat to MLflow: one run, with one nested run per attack.",
    )
    parser.add_argument("folder", help="results folder of a run")
    parser.add_argument("--tracking-uri", help="such as sqlite:///mlflow.db (default: MLflow's own setting)")
    parser.add_argument(
        "--experiment", default="art_flat", help="created if it does not exist (default: art_flat)"
    )
    parser.add_argument("--artifact-location", help="where a new experiment stores its files")
    parser.add_argument("--run-name", help="default: the folder's name")
    parser.add_argument("--points", action="store_true", help="also log the points, if the run saved them")
    options = parser.parse_args(arguments)
    try:
        run_id = log_results(
            Results.load(options.folder), tracking_uri=options.tracking_uri, experiment=options.experiment,
            artifact_location=options.artifact_location, run_name=options.run_name, points=options.points,
        )  # fmt: skip
    except ArtFlatError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{run_id}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
