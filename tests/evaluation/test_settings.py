"""The options of a run: one set of defaults, one check, and which of them decide the records."""

import inspect
from dataclasses import fields

import numpy as np
import pytest
from layout import PACKAGE, functions
from run_cases import grid_of, small_run

import art_flat as af
from art_flat.cli.config import RunConfig
from art_flat.errors import InputError, UnknownNameError
from art_flat.evaluation.settings import Settings

DECISIVE = {
    "seed": 1, "shard_size": 5, "transfer": True, "estimate_gradients": True, "lipschitz": None, "certify": "crown",
    "target": "next",
    "threads": 2, "levels": 16,
}  # fmt: skip
FREE = {"epsilons": [0.5], "save_adversarial": True, "n_jobs": 2, "time_limit": 9, "part": "1/2"}


def test_every_option_is_decisive_or_free():
    assert {f.name for f in fields(Settings)} == DECISIVE.keys() | FREE.keys()


def test_evaluate_and_configurations_have_the_same_defaults():
    defaults, keywords = Settings(), inspect.signature(af.evaluate).parameters
    config = RunConfig.model_validate(
        {"models": {"m": {"factory": "a:b"}}, "data": {"name": "digits"}, "deltas": 1}
    )
    for option in fields(Settings):
        value = getattr(defaults, option.name)
        assert keywords[option.name].default == value, option.name
        if option.name != "part":  # given on the command line
            configured = getattr(config, option.name)
            assert (tuple(configured) if option.name == "epsilons" else configured) == value, option.name


@pytest.mark.parametrize("option", DECISIVE)
def test_what_decides_the_records_is_in_the_identity(option):
    assert Settings(**{option: DECISIVE[option]}).identity() != Settings().identity()


@pytest.mark.parametrize("option", FREE)
def test_what_decides_no_record_is_not(option):
    assert Settings(**{option: FREE[option]}).identity() == Settings().identity()


def keys(*tables, **options):
    arguments = small_run(attacks=["art_flat:GaussianNoise"], deltas={"L2": [0.2]})
    arguments["models"] = {"a": arguments["models"]["tiny"], "b": arguments["models"]["tiny"]}
    grid = grid_of(**{**arguments, **options})
    return {unit.key for table in tables for unit in getattr(grid, table)}


def test_units_have_other_keys_exactly_where_an_option_decides_their_records():
    everything, points = ("clean", "attacked", "certified"), ("clean", "attacked")
    before = [keys(*tables) for tables in (everything, points)]
    assert all(keys(*everything, **{option: value}) != before[0] for option, value in DECISIVE.items())
    assert all(keys(*points, **{option: value}) == before[1] for option, value in FREE.items())


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("shard_size", 0, "`shard_size` must be a whole number"),
        ("threads", 0, "`threads` must be a whole number"),
        ("epsilons", [-1], "`epsilon` must be at least 0"),
        ("time_limit", 0, "`time_limit` must be greater than 0"),
        ("n_jobs", 0, "`n_jobs` must be a whole number other than 0"),
        ("part", "3/2", "`part` must look like '3/16'"),
        ("lipschitz", 3.0, "`lipschitz` must be 'auto', 'spectral', None, or map models to constants"),
        ("lipschitz", {"m": -1}, "must be greater than 0"),
        ("target", "nearest", "target 'nearest'"),
    ],
)
def test_values_that_cannot_be_used(option, value, words):
    with pytest.raises((InputError, UnknownNameError), match=words):
        Settings(**{option: value})


def test_values_are_kept_in_one_form():
    settings = Settings(epsilons=np.array([1.0, 0.1, 1.0]), part="3/16", time_limit="1/2", lipschitz="none")
    assert (settings.epsilons, settings.part, settings.time_limit, settings.lipschitz) == (
        (0.1, 1.0), (3, 16), 0.5, None,
    )  # fmt: skip


def test_only_public_functions_have_more_than_eight_parameters():
    found = {
        f"{path.stem}.{name}"
        for path in (PACKAGE / "evaluation").glob("*.py")
        for name, _, parameters, _ in functions(path)
        if parameters > 8
    }
    assert found == {"_evaluate.evaluate", "planning.plan"}
