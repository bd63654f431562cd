"""Findings: warnings about a run that a reader of its results should know."""

from ._diagnose import diagnose as diagnose
from .finding import SEVERITIES as SEVERITIES
from .finding import Finding as Finding
from .finding import Severity as Severity

__all__ = ["SEVERITIES", "Finding", "Severity", "diagnose"]
