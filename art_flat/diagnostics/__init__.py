"""Findings: what a reader of results should know before believing them."""
