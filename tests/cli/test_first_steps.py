"""`init`, `check`, `--set` and the plan: what a new user types before the first long run."""

import tomllib

import numpy as np
import pytest
from test_app import MODULE, here, project  # noqa: F401  (fixtures)

import art_flat as af
from art_flat.cli.analyses_plan import plan_analyses
from art_flat.cli.config import parse_config, read_config
from art_flat.cli.overrides import with_overrides
from art_flat.errors import ConfigError


def test_the_starter_is_valid_and_every_example_in_its_comments_is_too(tmp_path, here):  # noqa: F811
    done = here("init", cwd=tmp_path)
    assert done.stdout == "config.toml written; next: art-flat check config.toml\n"
    text = (tmp_path / "config.toml").read_text()
    assert read_config(tmp_path / "config.toml")[0].data.name == "digits"
    code, _, err = here("init", cwd=tmp_path)
    assert (code, err) == (2, "error: config.toml exists; choose another name, or remove it\n")
    content = tomllib.loads(text)
    section = content
    for line in text.splitlines():
        if line.removeprefix("# ").startswith("["):
            section = content
            for name in line.removeprefix("# ").strip("[]").split("."):
                section = section.setdefault(name, {})
        elif line.startswith("# ") and " = " in line and not line.startswith("# A "):
            section.update(tomllib.loads(line.removeprefix("# ")))
            parse_config({**content, "data": {**content["data"]}})


def test_the_starter_takes_a_model(tmp_path, here):  # noqa: F811
    assert here("init", "mine.toml", "--model", "mynet:make", cwd=tmp_path).returncode == 0
    assert read_config(tmp_path / "mine.toml")[0].models["mine"].factory == "mynet:make"
    assert "package.module:function" in here("init", "x.toml", "--model", "mynet.make", cwd=tmp_path).stderr


def test_check_reports_models_data_findings_and_cost(project, here):  # noqa: F811
    before = set(project.rglob("*"))
    done = here("check", "config.toml", "--set", "deltas={Linf=[0.6]}", "--set", "certify=none", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "head: 16 features → 10 classes" in done.stdout
    assert "of the first 20 samples" in done.stdout
    assert "clip range: 0…1" in done.stdout
    assert "[suspicious-radius]" in done.stdout
    assert "total: " in done.stdout
    assert done.stdout.endswith("next: art-flat run config.toml --out results\n")
    assert {p for p in set(project.rglob("*")) - before if "__pycache__" not in p.parts} == set()


def test_check_fails_where_results_would_be_meaningless(project, here):  # noqa: F811
    data = af.load_dataset("digits", n=30)
    np.savez(project / "data.npz", x=data.x, y=(data.y + 1) % 10)
    sets = [
        *("deltas={Linf=[0.1]}", 'attacks="art_flat:PGD(steps=2)"', "certify=none"),
        *("models.small.factory=art_flat.training:trained_digits_cnn", "models.small.options.epochs=3"),
    ]
    done = here("check", "config.toml", *(word for s in sets for word in ("--set", s)), cwd=project)
    assert done.returncode == 1
    assert "[wrong-labels]" in done.stdout


def test_the_plan_counts_the_units_of_the_run(project, here):  # noqa: F811
    sets = ["--set", "certify=lipschitz", "--set", "shard_size=8"]
    planned = here("plan", "config.toml", "--probe-seconds", "0.01", *sets, cwd=project).stdout
    run = here("run", "config.toml", "--out", "results", *sets, cwd=project).stdout
    units = planned.split("total: ")[1].split(" units")[0]
    assert f"0/{units} units" in run
    assert planned.startswith("loading")


def test_single_keys_are_replaced_in_the_file_and_recorded(project, here):  # noqa: F811
    sets = [
        "--set",
        "data.n=10",
        "--set",
        'attacks=["art_flat:PGD(steps=2)"]',
        "--set",
        "deltas={Linf=[0.1]}",
    ]
    assert here("run", "config.toml", "--out", "small", *sets, cwd=project).returncode == 0
    results = af.Results.load(project / "small")
    assert results.facts["n_samples"] == 10
    assert results.facts["deltas"] == {"Linf": [0.1], "L2": [0.5]}
    for text, words in (
        ("data.m=3", "data.m: unknown key"),
        ("models.little.weights=w", "did you mean models.small?"),
    ):
        code, _, err = here("run", "config.toml", "--out", "no", "--set", text, cwd=project)
        assert code == 2
        assert words in err


@pytest.mark.parametrize("text", ["seed", "=3", "a b=3", "data=[", "data.name=two words", "data.name="])
def test_an_override_that_is_not_a_key_and_a_value(text):
    with pytest.raises(ConfigError, match="must look like"):
        with_overrides({}, [text])


def test_analyses_are_planned_per_attack_and_norm(digits):
    from art_flat.analysis._write_analyses import Analyses

    net, x, y = digits
    costs = plan_analyses(
        Analyses(["art_flat:PGD(steps=2)"], ["art_flat:PGD(steps=1)"], True), {"cnn": net},
        {"Linf": (0.1, 0.2), "L2": (0.5,)}, x[:2], y[:2],
    )  # fmt: skip
    assert [title for title, _ in costs] == [
        "trajectories of art_flat:PGD(steps=2), cnn, Linf",
        "trajectories of art_flat:PGD(steps=2), cnn, L2",
        "scale sweep of art_flat:PGD(steps=1), cnn, Linf",
        "scale sweep of art_flat:PGD(steps=1), cnn, L2",
        "radial profile of cnn",
    ]
    assert all(0 < seconds < 60 for _, seconds in costs)
