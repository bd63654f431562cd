"""Results in MLflow: parameters, metrics and files of a run, with one nested run per attack.

Everything goes through a client of its own, so the tracking URI and the active run of the program stay as they are.
"""

from ._log import log_results as log_results

__all__ = ["log_results"]
