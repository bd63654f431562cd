"""`art-flat train`: a training from a file, as a user runs it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sampling import slow
from typer.testing import CliRunner

from art_flat.cli.app import app
from art_flat.cli.train import read_train_config
from art_flat.datasets import load_dataset
from art_flat.models import digits_cnn, load_weights
from art_flat.training import Adversary, CertifiedLoss, TrainingSettings

CONFIG = """
seed = 1
about = "Handwritten digits."

[model]
factory = "art_flat.models:digits_cnn"

[data]
name = "digits"

[test]
name = "digits"

[training]
epochs = 8
lr = 0.1
batch_size = 64
"""


def write(folder: Path, text: str = CONFIG) -> Path:
    path = folder / "train.toml"
    path.write_text(text)
    return path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("half", [slow(False), True])
def test_writes_weights_card_and_history(tmp_path: Path, half: bool) -> None:
    out = tmp_path / "net"
    said = run("train", write(tmp_path, f"half = {str(half).lower()}\n{CONFIG}"), "--out", out)
    assert {p.name for p in out.iterdir()} == {
        "weights.safetensors", "model_card.md", "history.csv", "checkpoint.safetensors",
    }  # fmt: skip
    net, data = load_weights(digits_cnn(), out / "weights.safetensors").eval(), load_dataset("digits")
    with torch.no_grad():
        accuracy = float((net(torch.from_numpy(data.x)).argmax(1).numpy() == data.y).mean())
    assert accuracy > 0.9
    card = (out / "model_card.md").read_text()
    assert f"| test accuracy | {accuracy:.4f} |" in card
    assert f"test accuracy {accuracy:.4f}" in said
    for words in ("Handwritten digits.", "1,297 samples", "| seed | 1 |", 'split = "train"', "lr = 0.1"):
        assert words in card
    history = pd.read_csv(out / "history.csv")
    assert list(history["epoch"]) == [*range(1, 9)]
    assert np.allclose(history["test_accuracy"].iloc[-1], accuracy, atol=0.01)
    assert (out / "weights.safetensors").stat().st_size < (90_000 if half else 160_000)


def test_defaults_are_those_of_train(tmp_path: Path) -> None:
    text = CONFIG[: CONFIG.index("epochs")] + "\n[training.adversary]\n[training.certified]\n"
    training = read_train_config(write(tmp_path, text))[0].training
    settings = training.model_dump(exclude={"adversary", "certified"})
    assert TrainingSettings(**settings) == TrainingSettings()
    assert Adversary(**training.adversary.model_dump()) == Adversary()
    assert CertifiedLoss(**training.certified.model_dump()) == CertifiedLoss()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("lr = 0.1", "learning_rate = 1"), r"training.learning_rate: unknown key"),
        (("lr = 0.1", "epsilon = 1"), r"training.epsilon: unknown key; .*epochs"),
        (("batch_size = 64", "[training.adversary]\neps = 1"), r"training.adversary.eps: unknown key"),
        (("batch_size = 64", "[training.certified]\neps = 1"), r"training.certified.eps: unknown key"),
        (("batch_size = 64", "[training.certified]\nclean_weight = 2"), r"training.certified.clean_weight: "),
        (("batch_size = 64", "[training.certified]\nwarmup = 0.9"), r"`warmup` and `ramp`"),
        (("[model]", "[modle]"), r"modle: unknown key; did you mean 'model'\?"),
        (('name = "digits"\n\n[test]', "n = 0\n[test]"), r"data.name: missing"),
        (("epochs = 8", "epochs = 0"), r"training.epochs: .*greater than or equal to 1"),
        (("digits_cnn", "digits_cn"), r"did you mean .*digits_cnn"),
        (("lr = 0.1", "flip = true"), None),
        (("batch_size = 64", "[training.certified]\ndelta = '8/255'"), None),
    ],
)
def test_faults_of_a_configuration(tmp_path: Path, change: tuple[str, str], words: str | None) -> None:
    path = write(tmp_path, CONFIG.replace(*change, 1).replace("epochs = 8", "epochs = 1"))
    if words is None:
        run("train", path, "--out", tmp_path / "out")
        return
    if "epochs = 8" in change:
        path = write(tmp_path, CONFIG.replace(*change, 1))
    from art_flat.errors import ArtFlatError

    with pytest.raises(ArtFlatError, match=words):
        CliRunner().invoke(app, ["train", str(path), "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_ctrl_c_and_the_same_command_again(tmp_path: Path) -> None:
    """Interrupted twice by a signal, the weights are those of a run that nobody touched, to the last bit."""
    path = write(tmp_path, CONFIG.replace("epochs = 8", "epochs = 40"))
    run("train", path, "--out", tmp_path / "whole")
    command = [sys.executable, "-m", "art_flat", "train", str(path), "--out", str(tmp_path / "cut")]
    reached = 0
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in process.stdout:  # wait for an epoch that is new
            if (found := re.match(r"epoch (\d+)/", line)) and int(found[1]) > reached:
                reached = int(found[1])
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert errors == "interrupted; the same command continues from the last checkpoint\n"
    assert reached < 40
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"epoch {reached}/40" not in said
    whole, cut = ((tmp_path / f / "weights.safetensors").read_bytes() for f in ("whole", "cut"))
    assert whole == cut
    assert len(pd.read_csv(tmp_path / "cut" / "history.csv")) == 40
