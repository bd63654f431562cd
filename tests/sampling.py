"""Large grids of cases: a few in the default run, the others with `-m slow`."""

import pytest


def mostly_slow(cases, *, quick):
    """The cases as parameters of a test; all but the `quick` ones are marked slow."""
    unknown = [case for case in quick if case not in cases]
    assert not unknown, unknown
    return [case if case in quick else slow(case) for case in cases]


def slow(case):
    """One case, marked; a tuple is one case of several parameters."""
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
