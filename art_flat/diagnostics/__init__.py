"""Findings: what a reader of results should know before believing them."""

from ._diagnose import diagnose as diagnose
from .finding import SEVERITIES as SEVERITIES
from .finding import Finding as Finding
from .finding import Severity as Severity

__all__ = ["SEVERITIES", "Finding", "Severity", "diagnose"]
