"""Test utilities for plugin authors, and a classifier and a run for examples."""

from .attack_contract import AttackContract as AttackContract
from .attack_contract import small_problem as small_problem
from .examples import example_classifier as example_classifier
from .examples import example_results as example_results

__all__ = ["AttackContract", "example_classifier", "example_results", "small_problem"]
