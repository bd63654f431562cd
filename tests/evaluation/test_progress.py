"""Progress displays on a terminal and elsewhere, with a simulated clock."""

import io
import itertools
from types import SimpleNamespace

import pytest
from rich.console import Console

from art_flat.evaluation.progress import progress_display, run_progress


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def unit(name="art_flat:PGD", norm="Linf", delta=0.1):
    return SimpleNamespace(attack=SimpleNamespace(info=SimpleNamespace(name=name)), norm=norm, delta=delta)


def state(done, total, failed=0, of=None, now=None, note="", recorded=0):
    return SimpleNamespace(
        done=done, total=total, failed=failed, unit=of, current=now, note=note, recorded=recorded
    )


def plain(clock=None):
    return Console(file=io.StringIO(), width=160, get_time=clock)


def terminal(width=160, clock=None):
    return Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False,
        get_time=clock,
    )  # fmt: skip


def test_lines_are_few_and_say_everything(clock):
    console = plain(clock)
    with run_progress(console) as (update, _):
        update(state(0, 200))
        for done in range(1, 201):
            update(state(done - 1, 200, failed=(done - 1) // 100, now=unit(f"art_flat:A{done}")))
            clock.now += 1.0
            update(state(done, 200, failed=done // 100, of=unit(f"art_flat:A{done}")))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 3 + (200 - 1) // 30
    assert lines[0] == "attacking: 0/200 units, 0:00 gone"
    assert lines[1] == "attacking: 0/200 units, art_flat:A1 L∞ 0.1, 0:00 gone"
    assert lines[2] == "attacking: 30/200 units, art_flat:A30 L∞ 0.1 done, 0:30 gone, about 2:50 left"
    assert lines[-1] == "attacking: 200/200 units, 2 failed, art_flat:A200 L∞ 0.1 done, 3:20 gone"


def test_the_attack_under_way_is_named_not_the_one_before(digits):
    import art_flat as af

    net, x, y = digits
    console, states = plain(itertools.count(0, 60).__next__), []  # a line for every state
    with run_progress(console) as (update, _):

        def both(state):
            states.append(state)
            update(state)

        attacks = ["art_flat:PGD(steps=2)", "art_flat:APGD(steps=2)"]
        af.evaluate(net, x, y, attacks=attacks, deltas={"Linf": [0.1]}, certify=None, progress=both)
    kinds = [
        (s.done, s.current and s.current.attack.info.name, s.unit and s.unit.attack.info.name)
        for s in states
        if not s.note
    ]
    first, second = "art_flat:PGD", "art_flat:APGD"
    assert kinds == [
        (0, None, None),
        (0, first, None),
        (1, None, first),
        (1, second, None),
        (2, None, second),
    ]
    lines = [line for line in console.file.getvalue().splitlines() if "L∞" in line]
    assert f"0/2 units, {first} L∞ 0.1," in lines[0]
    assert f"1/2 units, {second} L∞ 0.1," in lines[2]


def test_units_read_from_the_folder_do_not_make_the_rest_look_fast(clock):
    console = plain(clock)
    with run_progress(console) as (update, _):
        update(state(0, 104))
        for done in range(1, 101):
            clock.now += 0.003
            update(state(done, 104, recorded=done))
        for done in (101, 102):
            clock.now += 60.0
            update(state(done, 104, of=unit(), recorded=100))
    assert "102/104 units" in console.file.getvalue()
    assert "about 2:00 left" in console.file.getvalue()


def test_resumed_training_counts_its_own_steps_only(clock):
    console = plain(clock)
    with progress_display(console, "training", "steps") as (update, _):
        update(900, 1000, "loss 1.000")  # the first call reports where this process begins
        for done in range(901, 941):
            clock.now += 1.0
            update(done, 1000, "loss 1.000")
    assert console.file.getvalue().splitlines()[-1].endswith("0:30 gone, about 1:10 left")


def test_terminal_shows_a_bar_with_attack_failures_and_time_left(clock):
    console = terminal(clock=clock)
    with run_progress(console) as (update, say):
        update(state(0, 5))
        for done in (1, 2):
            clock.now += 60.0
            update(state(done, 5, failed=1, of=unit("mine:first", "L2", None)))
        update(state(2, 5, failed=1, now=unit("mine:[red]odd[/red]", "L2", None)))
        say("a line of the attack")
    text = console.file.getvalue()
    assert "2/5 units" in text
    assert "3:00 left" in text
    assert "1 failed, mine:[red]odd[/red] L2" in text  # a name is not markup
    assert "a line of the attack" in text
    assert "\x1b[" in text  # redrawn in place


def test_plain_output_has_no_control_characters(clock):
    console = plain(clock)
    with run_progress(console) as (update, say):
        update(state(0, 1))
        clock.now += 4000.0
        update(state(1, 1, of=unit("mine:[red]odd[/red]")))
        say("said")
    text = console.file.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.splitlines()[1] == "attacking: 1/1 units, mine:[red]odd[/red] L∞ 0.1 done, 1:06:40 gone"
    assert text.splitlines()[2] == "said"


def test_an_error_inside_puts_the_cursor_back():
    console = terminal()

    def interrupted():
        with progress_display(console, "working", "steps") as (update, _):
            update(1, 2, "")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert console.file.getvalue().rstrip("\n").endswith("\x1b[?25h")


def test_the_runner_reports_every_unit_and_its_failures(digits):
    import art_flat as af
    from art_flat.attacks import as_attack

    def broken(module, x, y):
        raise ValueError("no such attack")

    net, x, y = digits
    console = plain()
    attacks = ["art_flat:PGD(steps=2)", as_attack(broken, norms=["Linf"])]
    with run_progress(console) as (update, _):
        af.evaluate(net, x, y, attacks=attacks, deltas={"Linf": [0.1]}, certify=None, progress=update)
    last = console.file.getvalue().splitlines()[-1]
    assert "2/2 units, 1 failed" in last


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_narrow_terminal_shortens_the_remark_not_the_numbers(width, clock):
    console = terminal(width, clock)
    with run_progress(console) as (update, _):
        update(state(0, 40))
        for done in range(1, 8):
            clock.now += 10.0
            update(state(done, 40, failed=3, now=unit("torchattacks:PGD", delta=8 / 255)))
    last = console.file.getvalue().split("\x1b[2K")[-1].splitlines()
    assert "attacking" in last[0]
    assert "7/40 units" in last[0]
    assert "5:30 left" in last[0]
    assert len(last[0]) <= width
    assert len(last) == 2  # the other line puts the cursor back


def test_preparation_is_shown_and_does_not_set_the_pace(clock):
    console = plain(clock)
    with run_progress(console) as (update, _):
        update(state(0, 4, note="preparing"))
        clock.now += 500.0
        update(state(0, 4, note="net: Lipschitz constant in L∞, layer 7 of 9"))
        for done in (0, 1, 2):
            update(state(done, 4, now=unit()))
            clock.now += 40.0
    text = console.file.getvalue()
    assert text.startswith("attacking: 0/4 units, preparing")
    assert "layer 7 of 9" in text
    assert "about 1:20 left" in text
