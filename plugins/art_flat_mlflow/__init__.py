"""Results in MLflow: parameters, metrics and files of a run, with one nested run per attack.

It uses a separate client, so the tracking URI and the active run of the program are unchanged.
"""

from ._log import log_results as log_results

__all__ = ["log_results"]
