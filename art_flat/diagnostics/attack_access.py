"""Check that white-box attacks ran, according to the records."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Finding, Run

_BLOCKED = " has no gradient"
"""Part of the adapters' message for a defence without a gradient."""


def no_white_box_attack(run: Run) -> Iterator[Finding]:
    """Models of which every white-box attack was skipped because a defence has no gradient."""
    white = run.rows[run.rows["own"] & (run.rows["access"] == "white-box")]
    for model, part in white.groupby("model", sort=False):
        reasons = part["error"].fillna("").astype(str)
        if not ((part["status"] == "skipped") & reasons.str.contains(_BLOCKED, regex=False)).all():
            continue
        yield Finding(
            "no-white-box-attack",
            "error",
            f"{model}: none of the white-box attacks ran ({part['attack'].nunique()} skipped), because "
            f"{reasons.iloc[0].partition(_BLOCKED)[0]}{_BLOCKED}; robust accuracy is that of the other attacks alone",
            (),
            "Run again with evaluate(..., estimate_gradients=True), in a configuration estimate_gradients = true: "
            "attacks then pass the defence along the estimate that it declares. Such a defence often only hides the "
            "gradient.",
        )
