"""Sanity checks of the records: budgets, failures, inconsistent numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .._utils.formatting import ball_text, counted, norm_sign, percent, percent_of, radius_text
from ..functional.loss_change import flip_cost
from ..records import CONFIDENT
from ..records.model_records import loss_rounding
from ..records.schema import UNDEFINED_OUTPUTS
from ..scores.reduce import is_flatter
from .finding import MANY, Finding, Run, ids, softmaxed, unstable

_NEARLY_ALL = 0.9
"""Share of an attack's points outside the ball from which the attack has no valid result."""


def unstable_losses(run: Run) -> Iterator[Finding]:
    """Unchanged clean points with a different loss: predictions are random or depend on history."""
    rows = run.rows[run.rows["measured"] & (run.rows["linf"] == 0)]
    gap = (rows["loss_adv"] - rows["loss_clean"]).abs()
    changed = rows[gap > 1e-3 * (1 + rows["loss_clean"].abs())]
    for model, part in changed.groupby("model", sort=False):
        yield unstable(str(model), part["sample"], "the same inputs had different losses at two times")


def random_models(run: Run) -> Iterator[Finding]:
    """Models whose outputs on the same probe inputs differed before the run."""
    for model, share in run.facts.get("random_models", {}).items():
        size = "not finite" if share is None else f"{share:.2g} of their size"
        yield unstable(model, (), f"two passes over the same inputs differ ({size})")


def probabilities(run: Run) -> Iterator[Finding]:
    """Logits within 1 of each other although predictions are good: they are probably probabilities."""
    for model, part in run.clean.groupby("model", sort=False):
        k = int(run.models.loc[model, "nb_classes"])
        rows = run.rows[(run.rows["model"] == model) & run.rows["measured"]]
        confidence = max(part["confidence"].max(), rows["confidence_adv"].max())
        margin = max(part["margin"].abs().max(), rows["margin_adv"].abs().max())
        accuracy = float((part["pred"] == part["label"]).mean())
        if margin <= 1 + 1e-6 and confidence <= math.e / (math.e + k - 1) + 1e-6 and accuracy >= 1.5 / k:
            yield softmaxed(
                str(model), "warning", f"no logit leads by more than 1, yet accuracy is {percent(accuracy)}"
            )


def suspicious_radii(run: Run) -> Iterator[Finding]:
    """Radii that do not fit the range of the inputs."""
    for model, row in run.models.iterrows():
        span = float(row["clip_high"]) - float(row["clip_low"])
        for norm in ("Linf", "L2"):
            for delta in run.facts["deltas"].get(norm, ()):
                if norm == "Linf" and delta >= span / 2:
                    what = "every input can be turned into the same grey image within the ball, so no model is robust"
                elif delta < span / 510:
                    what = "that is less than half of one grey level in 256"
                else:
                    continue
                yield Finding(
                    "suspicious-radius",
                    "warning",
                    f"{model}, {ball_text(norm, delta)} in a range of {span:.4g}: {what}",
                    (),
                    "δ is in units of the classifier's clip_values: 8/255 for inputs in [0, 1], 8 for inputs in "
                    "[0, 255].",
                )


def step_sizes(run: Run) -> Iterator[Finding]:
    """Steps that leave the ball at once, or that together do not reach its edge."""
    for attack in run.facts["attacks"]:
        walked = attack.get("steps", [])
        large = [s for s in walked if s["size"] > s["delta"] * (1 + 1e-9)]
        short = [s for s in walked if s["size"] * s["number"] < s["delta"] * (1 - 1e-9)]
        cases = (
            ("step-above-radius", large, "more than δ"),
            ("steps-below-radius", short, "less than δ in all"),
        )
        for id_, steps, what in cases:
            if steps:
                listed = ", ".join(
                    f"{s['number']} × {s['size']:.4g} at {ball_text(s['norm'], s['delta'])}" for s in steps
                )
                yield Finding(
                    id_,
                    "warning" if steps is short or steps[0]["number"] > 1 else "info",
                    f"{attack['name']} moves {what}: {listed} (steps × size in clip units)",
                    (),
                    _STEP_ADVICE[id_],
                )


_STEP_ADVICE = {
    "step-above-radius": "Every step ends at the edge of the ball, so the inside is never searched; leave the step "
    "out (2.5 δ/steps) or take more steps. A single step from a random start may need it.",
    "steps-below-radius": "The edge of the ball is out of reach, so robust accuracy there is that of a smaller ball; "
    "leave the step out (2.5 δ/steps) or take more steps.",
}


def suspicious_tolerances(run: Run) -> Iterator[Finding]:
    """Tolerances that even a guess satisfies."""
    for model, row in run.models.iterrows():
        limit = math.log(int(row["nb_classes"]))
        large = [e for e in run.facts["epsilons"] if e >= limit]
        if large:
            yield Finding(
                "suspicious-tolerance",
                "warning",
                f"{model}: ε = {', '.join(f'{e:.4g}' for e in large)} nats, but a guess among "
                f"{counted(int(row['nb_classes']), 'class')} costs {limit:.3g} nats",
                (),
                "At such an ε a rise of the loss from certain to guessing counts as robust; choose ε below log k, "
                "and below log 2 where robust is to imply a right prediction.",
            )


def outside(run: Run) -> Iterator[Finding]:
    """Points outside the ball of their attack, or for attacks without a budget outside every ball."""
    rows = run.rows[run.rows["measured"] & run.rows["own"] & (run.rows["budget"] != "minimum-norm")]
    for (model, attack, norm), part in rows.groupby(["model", "attack", "norm"], sort=False):
        free, largest = part["delta"].isna(), max(run.facts["deltas"].get(norm, (math.inf,)))
        excess = part[norm.lower()] / part["delta"].fillna(largest)
        far = excess > 1
        nearly_all = far.mean() >= _NEARLY_ALL
        if not far.any() or (free.all() and not nearly_all):
            continue
        worst = part.loc[excess.idxmax()]
        radius = largest if math.isnan(worst["delta"]) else worst["delta"]
        yield Finding(
            "outside-budget",
            "error" if nearly_all and not free.all() else "warning",
            f"{model}, {attack}, {norm_sign(norm)}: {far.sum()} of "
            f"{counted(len(part), 'point lies', 'points lie')} outside the ball, up to "
            f"{worst[norm.lower()]:.4g} at δ = {radius_text(radius)}",
            ids(part["sample"][far]),
            "They do not count as adversarial, so robust accuracy is no lower than without the attack. It exceeds δ: "
            "check the units of its own radius, and do not rely on the success that it reports itself.",
        )


def outside_range(run: Run) -> Iterator[Finding]:
    """Points further away than the range is wide."""
    span = run.models["clip_high"] - run.models["clip_low"]
    rows = run.rows[run.rows["measured"]]
    far = rows["linf"].to_numpy() > rows["model"].map(span).to_numpy(float) * (1 + 1e-6)
    for (model, attack), part in rows[far].groupby(["model", "attack"], sort=False):
        yield Finding(
            "outside-range",
            "error",
            f"{model}, {attack}: {counted(len(part), 'point')} moved further than the whole range of the inputs",
            ids(part["sample"]),
            "The clip range of the classifier and the data disagree; check clip_values.",
        )


def bounds(run: Run) -> Iterator[Finding]:
    """Points whose loss rose by more than a sound bound, or that flip at less than the minimum loss of a flip."""
    rows = run.rows[run.rows["measured"]]
    weight_norm = rows["model"].map(run.models["weight_norm"]).to_numpy(float)
    rounding = loss_rounding(weight_norm, rows["feature_norm_clean"])
    over = rows["loss_change"] > rows["bound_at_shift"] + rounding
    cheap = rows["fooled"] & (rows["loss_change"] < flip_cost(rows["loss_clean"]) - rounding)
    for model, part in rows[over | cheap].groupby("model", sort=False):
        yield Finding(
            "bound-exceeded", "error",
            f"{model}: {counted(len(part), 'point breaks', 'points break')} a bound that holds for "
            "every point", ids(part["sample"]),
            "The records contradict the mathematics: the model is not a pure function of its input, its head is not "
            "the one that made the logits, or there is a bug in art_flat; please report it.",
        )  # fmt: skip


def not_run(run: Run) -> Iterator[Finding]:
    """Units that failed or were skipped."""
    bad = run.rows[
        run.rows["status"].isin(["failed", "skipped"]) & ~run.rows["error"].isin(UNDEFINED_OUTPUTS)
    ]
    keys = ["model", "attack", "norm", "status", "error"]
    for (model, attack, norm, status, error), part in bad.groupby(keys, sort=False, dropna=False):
        where = f"{model}, {attack}, {norm_sign(norm)}: {error}"
        if status == "failed":
            yield Finding(
                "failed-units", "error", f"{counted(len(part), 'point')} failed; {where}", ids(part["sample"]),
                "They are left out of the scores, never counted as robust. Fix the cause and run again: only "
                "failed units are computed again.",
            )  # fmt: skip
        elif "classes" in str(error):
            yield Finding(
                "too-few-classes", "info", f"skipped; {where}", (),
                "The attack's loss needs more classes than the model has; choose another attack or another of its "
                'losses, such as loss="ce".',
            )  # fmt: skip
        else:
            yield Finding(
                "skipped-attacks", "info", f"skipped; {where}", (), "Leave the attack out, or meet its requirements."
            )  # fmt: skip


def certificates_skipped(run: Run) -> Iterator[Finding]:
    """Models that were not certified because of the default limit on cost."""
    for model, reasons in run.facts.get("certificates", {}).items():
        if "skipped" in reasons:
            yield Finding(
                "certificates-skipped", "info", f"{model}: nothing is certified", (),
                reasons["skipped"][0].upper() + reasons["skipped"][1:] + ".",
            )  # fmt: skip
        if "unbounded" in reasons:
            yield Finding(
                "certificates-skipped", "info", f"{model}: not all bounds over balls of inputs were computed", (),
                reasons["unbounded"][0].upper() + reasons["unbounded"][1:] + ".",
            )  # fmt: skip


def certificates_limited(run: Run) -> Iterator[Finding]:
    """Radii at which full bounds stopped before every open sample that is not broken had them."""
    smallest, largest = run.facts["epsilons"][0], run.facts["epsilons"][-1]
    for model, said in run.facts.get("certificates", {}).items():
        table = run.certified[(run.certified["model"] == model) & (run.certified["kind"] == "crown_interval")]
        full = run.certified[(run.certified["model"] == model) & (run.certified["kind"] == "crown")]
        undefined = run.clean["sample"][(run.clean["model"] == model) & run.clean["loss"].isna()]
        for (norm, delta), part in table.groupby(["norm", "delta"], sort=False):
            if "limited" not in said:
                continue
            rows = run.rows[(run.rows["model"] == model) & (run.rows[norm.lower()] <= delta)]
            broken = rows["sample"][~(rows["loss_change"] <= largest)]
            left = set(part["sample"][~(part["loss_increase_bound"] <= smallest)])
            left -= {*full["sample"][(full["norm"] == norm) & (full["delta"] == delta)], *broken, *undefined}
            if left:
                yield Finding(
                    "certificates-limited", "info",
                    f"{model}, {ball_text(norm, delta)}: {counted(len(left), 'sample')} that "
                    "bounds from intervals leave open got "
                    "no full bounds", ids(left), said["limited"][0].upper() + said["limited"][1:] + ".",
                )  # fmt: skip


def flat_but_wrong(run: Run) -> Iterator[Finding]:
    """Adversarial points in the uncanny valley: confidently wrong and flatter than their clean point."""
    worst: dict[str, tuple[float, Finding]] = {}
    for model, norm, delta, rows in run.radii():
        right = set(rows["sample"][rows["right"] & rows["measured"]])
        valley = rows["hit"] & (rows["confidence_adv"] >= CONFIDENT)
        valley &= is_flatter(rows["log_kappa_adv"], rows["log_kappa_clean"])
        flat_wrong = set(rows["sample"][valley])
        share = len(flat_wrong) / max(1, len(right))
        if share >= MANY and share > worst.get(model, (0.0,))[0]:
            worst[model] = (
                share,
                Finding(
                    "flat-but-wrong",
                    "warning",
                    f"{model}, {ball_text(norm, delta)}: "
                    f"{percent_of(share, len(right), 'clean-correct sample has', 'clean-correct samples have')} an "
                    f"adversarial point that is wrong with confidence ≥ {CONFIDENT:g} and flatter than the clean one",
                    ids(flat_wrong),
                    "Flatness does not imply robustness here, and low κ at a point does not imply a correct label; "
                    "trace_attack shows the trajectory into the valley.",
                ),
            )
    yield from (finding for _, finding in worst.values())
