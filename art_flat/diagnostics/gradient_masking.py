"""Checks for signs of gradient masking in the records; each yields findings."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from .._utils.formatting import ball_text, norm_sign, percent_of, radius_text
from .finding import MANY, SHARE, Finding, Run, ids

_LOG_TINY = math.log(float(np.finfo(np.float32).tiny))


def vanishing_gradients(run: Run) -> Iterator[Finding]:
    """Clean losses so confident that their gradient underflows float32."""
    for model, part in run.clean.groupby("model", sort=False):
        with np.errstate(divide="ignore", invalid="ignore"):
            log_gini = part["log_trace"].to_numpy(float) - 2 * np.log(part["feature_norm"].to_numpy(float))
        underflows = log_gini - math.log(2) < _LOG_TINY
        if underflows.mean() >= MANY:
            yield Finding(
                "vanishing-gradients",
                "warning",
                f"{model}: "
                f"{percent_of(underflows.mean(), len(part), 'clean sample is', 'clean samples are')} predicted so "
                "confidently that the gradient of their loss underflows float32",
                ids(part["sample"][underflows]),
                "Attacks that follow this gradient do not move. Use art_flat:PGD or art_flat:APGD, whose direction "
                "does not underflow, and scale_sweep to test a smaller head.",
            )


def stronger_without_gradients(run: Run) -> Iterator[Finding]:
    """Black-box attacks, noise or transferred points that succeed where every white-box attack failed."""
    kinds = {
        "black-box-beats-white-box": "a black-box attack or noise",
        "transfer-beats-white-box": "points found on another model",
    }
    for id_, name in kinds.items():
        worst: dict[str, tuple[float, Finding]] = {}
        for model, norm, delta, rows in run.radii():
            white = rows["own"] & white_box(rows)
            other = ~rows["own"] if id_.startswith("transfer") else rows["own"] & ~white_box(rows)
            right = set(rows["sample"][white & rows["run"] & rows["measured"] & rows["right"]])
            fooled = set(rows["sample"][rows["hit"] & rows["run"] & other]) & right
            missed = fooled - set(rows["sample"][rows["hit"] & white])
            share = len(missed) / max(1, len(right))
            if share >= SHARE and share > worst.get(model, (0.0,))[0]:
                what = (
                    f"{model}, {ball_text(norm, delta)}: {name} fooled "
                    f"{percent_of(share, len(right), 'sample')} that "
                )
                worst[model] = (
                    share,
                    Finding(
                        id_,
                        "error",
                        what + "are clean-correct and that no white-box attack fooled",
                        ids(missed),
                        "This is a sign of masked gradients: do not trust the white-box numbers. Add stronger "
                        "attacks (more steps and restarts, art_flat:APGD) and check for zero gradients.",
                    ),
                )
        yield from (finding for _, finding in worst.values())


def one_step_beats_many(run: Run) -> Iterator[Finding]:
    """A single gradient step that fools more samples than iterated steps in the same ball."""
    for model, norm, delta, rows in run.radii():
        rows = rows[
            rows["run"]
            & rows["own"]
            & white_box(rows)
            & (rows["budget"] == "fixed")
            & rows["measured"]
            & rows["right"]
        ]
        if rows.empty:
            continue
        by_attack = rows.groupby("attack", sort=False)
        success, passes, n = by_attack["hit"].mean(), by_attack["backwards"].mean(), by_attack.size()
        one, many = success[(passes > 0) & (passes <= 1.5)], success[passes >= 5]
        if one.empty or many.empty or one.max() < many.max() + SHARE:
            continue
        hit = {name: set(part["sample"][part["hit"]]) for name, part in by_attack}
        yield Finding(
            "one-step-beats-many",
            "error",
            f"{model}, {ball_text(norm, delta)}: one step ({one.idxmax()}) fools "
            f"{percent_of(one.max(), n[one.idxmax()])}, many steps ({many.idxmax()}) "
            f"{percent_of(many.max(), n[many.idxmax()], 'clean-correct sample')}",
            ids(hit[one.idxmax()] - hit[many.idxmax()]),
            "Iterated steps contain the single one, so the gradient misleads or the step size is wrong: check the "
            "step size, and suspect masked gradients.",
        )


def larger_radius_weaker(run: Run) -> Iterator[Finding]:
    """An attack that fools fewer samples in a larger ball than in a smaller one."""
    rows = run.rows[run.rows["own"] & run.rows["measured"] & run.rows["right"] & run.rows["delta"].notna()]
    rows = rows.assign(hit=rows["fooled"] & rows["within_budget"].astype(bool))
    for (model, attack, norm), part in rows.groupby(["model", "attack", "norm"], sort=False):
        success, n = part.groupby("delta")["hit"].mean(), part.groupby("delta").size()
        drops = [
            (success[small] - success[large], small, large)
            for small in success.index
            for large in success.index[success.index > small]
        ]
        drop, small, large = max(drops, default=(0.0, 0.0, 0.0))
        if drop < SHARE:
            continue
        hit = {d: set(part["sample"][part["hit"] & (part["delta"] == d)]) for d in (small, large)}
        yield Finding(
            "larger-radius-weaker",
            "warning",
            f"{model}, {attack}, {norm_sign(norm)}: success falls from {percent_of(success[small], n[small])} at "
            f"δ = {radius_text(small)} to {percent_of(success[large], n[large], 'clean-correct sample')} at "
            f"δ = {radius_text(large)}",
            ids(hit[small] - hit[large]),
            "A larger ball holds the smaller one. The attack overshoots or the gradients mislead it: reduce its "
            "step size, give it more steps, or read the worst case over all attacks and radii.",
        )


def white_box(rows: pd.DataFrame) -> pd.Series[bool]:
    """Mask of the rows of attacks that use gradients."""
    return rows["access"] == "white-box"
