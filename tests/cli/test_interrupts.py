"""Ctrl-C ends every long command with one line and exit code 130, also while packages are imported."""

import signal

import pytest
import typer
from typer.testing import CliRunner

from art_flat.cli import app as commands
from art_flat.cli import train as training
from art_flat.cli.interrupts import interrupted


def press(*_, **__):
    signal.raise_signal(signal.SIGINT)


def press_during_an_import(*_, **__):
    try:
        press()
    except KeyboardInterrupt:
        raise ImportError("cannot load module more than once per process") from None


@pytest.mark.parametrize("action", [press, press_during_an_import])
@pytest.mark.parametrize(
    "command", ["demo", "check c.toml", "plan c.toml", "run c.toml --out r", "train c.toml --out t"]
)
def test_every_long_command_ends_with_one_line(monkeypatch, tmp_path, command, action):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "print_line", action)
    monkeypatch.setattr(training, "read_train_config", action)
    before = signal.getsignal(signal.SIGINT)
    done = CliRunner().invoke(commands.app, command.split())
    assert done.exit_code == 130, done.exception
    assert done.stderr.startswith("interrupted; ")
    assert done.stderr.count("\n") == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_other_errors_are_not_interruptions():
    with pytest.raises(ImportError), interrupted("interrupted"):
        raise ImportError
    with pytest.raises(typer.Exit) as ended, interrupted("interrupted"):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupted("interrupted"):
            press()
    finally:
        signal.signal(signal.SIGINT, before)
