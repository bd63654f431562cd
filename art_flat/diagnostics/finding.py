"""`Finding`, and the view of a run's records that the checks read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from .._utils.formatting import counted
from .._utils.html import html_line

if TYPE_CHECKING:
    from ..records import Records

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

SHARE = 0.05
"""Share of samples from which a difference between two attacks is reported."""
MANY = 0.1
"""Share of samples from which a property of the model is reported."""


@dataclass(frozen=True, repr=False)
class Finding:
    """A finding that a reader should know before trusting the results.

    Attributes:
        id: Identifier of the kind of finding; `diagnose` lists all.
        severity: `"error"`: scores are wrong or meaningless; `"warning"`: they may mislead;
            `"info"`: they are valid, and the finding helps to interpret them.
        what: The observation, with numbers.
        samples: Ids of the samples concerned; empty if no particular samples are.
        advice: Recommended action.
    """

    id: str
    severity: Severity
    what: str
    samples: tuple[int, ...]
    advice: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.what} [{self.id}]. {self.advice}"

    def __repr__(self) -> str:
        samples = f", {counted(len(self.samples), 'sample')}" if self.samples else ""
        return f"<Finding {self.id}, {self.severity}: {self.what}{samples}>"

    def _repr_html_(self) -> str:
        return html_line(f"{self.what}. {self.advice}", f"{self.severity}, {self.id}:")


class Findings(list[Finding]):
    """A list of findings that a notebook displays as a table."""

    def _repr_html_(self) -> str:
        if not self:
            return html_line("nothing suspicious", "Findings:")
        return "".join(finding._repr_html_() for finding in self)


class Run:
    """The records of a run, prepared for the checks."""

    def __init__(self, records: Records, probed_now: Iterable[str] = ()) -> None:
        self.facts = records.facts
        now = set(probed_now)
        self.probes: dict[str, Mapping[str, Any]] = {
            m: probes for m, probes in self.facts.get("models_asked", {}).items() if m not in now
        }
        """Probe results of each model before the run, except for models that are probed again now."""
        self.models = records.models.set_index("model")
        self.clean, self.certified = records.clean, records.certified
        rows = records.joined()
        attacks: Mapping[str, Mapping[str, Any]] = {a["name"]: a for a in self.facts["attacks"]}
        for fact, usual in (("budget", "fixed"), ("access", "white-box")):
            rows[fact] = rows["attack"].map({name: a.get(fact, usual) for name, a in attacks.items()})
        rows["own"] = rows["source_model"] == rows["model"]
        rows["right"] = rows["pred_clean"] == rows["label"]
        rows["measured"] = rows["status"].isin(["ok", "fallback"]) & rows["loss_adv"].notna()
        rows["fooled"] = rows["right"] & rows["measured"] & (rows["pred_adv"] != rows["label"])
        flags = ["own", "right", "measured", "fooled"]
        rows[flags] = rows[flags].fillna(False).astype(bool)
        self.rows = rows

    def radii(self) -> Iterator[tuple[str, str, float, pd.DataFrame]]:
        """Model, norm, δ, and the model's rows with `hit` (wrong and inside) and `run` (made for this norm and δ)."""
        for model, part in self.rows.groupby("model", sort=False):
            for norm, deltas in self.facts["deltas"].items():
                for delta in deltas:
                    made = (part["norm"] == norm) & (part["delta"].isna() | (part["delta"] == delta))
                    inside = part[norm.lower()] <= delta
                    yield str(model), norm, delta, part.assign(hit=part["fooled"] & inside, run=made)


def unstable(model: str, samples: Iterable[Any], what: str) -> Finding:
    """The finding `unstable-predictions`."""
    return Finding(
        "unstable-predictions",
        "error",
        f"{model}: {what}; the model is randomised or stateful",
        ids(samples),
        "Scores of such a model depend on chance. Fix its randomness, or average over it (expectation over "
        "transformation) inside the model.",
    )


def softmaxed(model: str, severity: Severity, what: str) -> Finding:
    """The finding `outputs-are-probabilities`."""
    return Finding(
        "outputs-are-probabilities",
        severity,
        f"{model}: {what}; the logits look like probabilities",
        (),
        "Let the model return logits: a softmax of a softmax bounds every loss, hides gradients from attacks that "
        "use the estimator itself, and makes κ that of a different function.",
    )


def ids(samples: Iterable[Any]) -> tuple[int, ...]:
    """Sample ids, sorted, each once."""
    return tuple(sorted({int(s) for s in samples}))
