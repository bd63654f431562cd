"""The MLflow plugin against a local SQLite store; runs in an environment that has MLflow (see `.ci/run`)."""

import math
import subprocess
import sys

import pytest

import art_flat as af
from art_flat.evaluation import ALL_ATTACKS

mlflow = pytest.importorskip("mlflow", reason="MLflow has an environment of its own")
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")

ATTACKS = ["art_flat:PGD(steps=3)", "art_flat:APGD(steps=3)"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    from art_flat.testing import small_problem

    net, x, y = small_problem()
    deltas = {"Linf": [0.1, 0.2], "L2": [0.5]}
    out = tmp_path_factory.mktemp("results") / "demo"
    models = {"cnn": net, "odd: name/../x": net}
    return af.evaluate(
        models,
        x,
        y,
        attacks=ATTACKS,
        deltas=deltas,
        epsilons=[0.1, 1.0],
        out=out,
        save_adversarial=True,
        certify="lipschitz",
    )


@pytest.fixture
def store(tmp_path):
    """Tracking URI, and where a new experiment keeps its files."""
    return f"sqlite:///{tmp_path / 'mlflow.db'}", (tmp_path / "artifacts").as_uri()


def runs_of(uri, experiment="art_flat"):
    client = mlflow.tracking.MlflowClient(uri)
    home = client.get_experiment_by_name(experiment).experiment_id
    runs = client.search_runs([home])
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    return client, parents, [r for r in runs if r not in parents]


def logged(results, store, **options):
    from art_flat_mlflow import log_results

    uri, artifacts = store
    run_id = log_results(results, tracking_uri=uri, artifact_location=artifacts, **options)
    client, parents, nested = runs_of(uri)
    assert [p.info.run_id for p in parents] == [run_id]
    return client, parents[0], nested


def check_metrics(metrics, rows):
    seen = 0
    for row in rows.to_dict("records"):
        model = row["model"].replace(":", "_").replace("/", "_").replace("..", "__")
        place = f"{model}/{row['norm']}/{row['delta']:.6g}"
        for column, value in row.items():
            if column.startswith(("loss_change_robustness@", "certified@")):
                name, epsilon = column.split("@")
                key = f"{name}/{place}/epsilon {epsilon}"
            elif column in ("robust_accuracy", "kappa_adv", "n_evaluated", "forwards"):
                key = f"{column}/{place}"
            else:
                continue
            if math.isfinite(value):
                assert metrics[key] == pytest.approx(value)
                seen += 1
            else:
                assert key not in metrics
    assert seen > 5 * len(rows)


def test_one_run_with_a_nested_run_per_attack(results, store):
    _, parent, nested = logged(results, store, tags={"why": "test"})
    frame = results.summary()
    check_metrics(parent.data.metrics, frame[frame["attack"] == ALL_ATTACKS])
    assert {r.data.params["attack"] for r in nested} == set(ATTACKS)
    assert {r.data.tags["mlflow.parentRunId"] for r in nested} == {parent.info.run_id}
    assert {r.info.run_name for r in nested} == set(ATTACKS)
    for run in nested:
        check_metrics(run.data.metrics, frame[frame["attack"] == run.data.params["attack"]])
        assert run.data.params["budget"] == "fixed"
    assert {r.info.status for r in (parent, *nested)} == {"FINISHED"}
    assert parent.data.params["seed"] == "0"
    assert parent.data.params["package/torch"] == results.facts["packages"]["torch"]
    assert (parent.info.run_name, parent.data.tags["why"]) == ("demo", "test")


def test_artifacts_are_the_results_and_can_be_loaded_again(results, store, tmp_path):
    client, parent, _ = logged(results, store)
    (tmp_path / "back").mkdir()
    folder = client.download_artifacts(parent.info.run_id, "", str(tmp_path / "back"))
    back = af.Results.load(folder)
    assert back.summary().equals(results.summary())
    assert not back.has_points
    assert "summary.csv" in [f.path for f in client.list_artifacts(parent.info.run_id)]


def test_report_and_points_come_along(results, store, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(results.folder, folder)
    (folder / "report.html").write_text("<p>report</p>")
    client, parent, _ = logged(af.Results.load(folder), store, points=True)
    names = [f.path for f in client.list_artifacts(parent.info.run_id)]
    assert "report.html" in names
    assert "points" in names


def test_results_in_memory_are_logged_too(digits, store, tmp_path):
    net, x, y = digits
    results = af.evaluate(net, x, y, attacks=ATTACKS[:1], deltas={"Linf": [0.1]}, certify=None)
    client, parent, nested = logged(results, store, run_name="mine")
    assert parent.info.run_name == "mine"
    assert (
        parent.data.metrics["robust_accuracy/model/Linf/0.1"]
        == nested[0].data.metrics["robust_accuracy/model/Linf/0.1"]
    )
    assert "models.parquet" in [f.path for f in client.list_artifacts(parent.info.run_id)]


def test_the_users_mlflow_is_left_as_found(results, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    theirs = f"sqlite:///{tmp_path / 'theirs.db'}"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(theirs)
    try:
        home = mlflow.create_experiment("theirs", (tmp_path / "theirs").as_uri())
        with mlflow.start_run(experiment_id=home) as active:
            logged(results, store)
            assert mlflow.get_tracking_uri() == theirs
            assert mlflow.active_run().info.run_id == active.info.run_id
            mlflow.log_metric("still", 1.0)
        run = mlflow.tracking.MlflowClient(theirs).get_run(active.info.run_id)
        assert run.data.metrics == {"still": 1.0}
        assert not run.data.params
    finally:
        mlflow.set_tracking_uri(before)
    assert not (tmp_path / "mlruns").exists()


def test_an_error_ends_the_run_as_failed(results, store, tmp_path):
    (tmp_path / "artifacts").write_text("a file where the folder of the artifacts would be")
    with pytest.raises(OSError, match="artifacts"):
        logged(results, store)
    assert [r.info.status for r in runs_of(store[0])[1]] == ["FAILED"]


def test_a_deleted_experiment_is_an_error_that_says_so(results, store):
    client = mlflow.tracking.MlflowClient(store[0])
    client.delete_experiment(client.create_experiment("gone", store[1]))
    with pytest.raises(ValueError, match="'gone' was deleted"):
        logged(results, store, experiment="gone")


def test_command_line(results, store, tmp_path):
    def call(*args):
        command = [sys.executable, "-m", "art_flat_mlflow", *map(str, args)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    done = call(
        results.folder, "--tracking-uri", store[0], "--artifact-location", store[1], "--experiment", "mine"
    )
    assert done.returncode == 0, done.stderr
    _, parents, nested = runs_of(store[0], "mine")
    assert done.stdout.split() == [parents[0].info.run_id]
    assert len(nested) == len(ATTACKS)
    wrong = call(tmp_path / "nowhere", "--tracking-uri", store[0])
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in wrong.stderr


def test_torchattacks_runs_beside_mlflow(digits):
    """Its pin of requests is stricter than what it needs."""
    pytest.importorskip("torchattacks")
    net, x, y = digits
    result = af.load_attack("torchattacks:FGSM")(net, x, y, delta=0.2, norm="Linf", seed=0)
    assert result.success.any()
