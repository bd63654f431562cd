"""All registered attacks on one model, as a table: python benchmarks/attack_suite.py CONFIG OUT [SECONDS [NAME ...]]

CONFIG is a file as `art-flat run` takes it, with one radius per norm: `benchmarks/mnist/suite.toml` for the MNIST CNN.
Every attack runs in every norm it supports on the first 8 samples, then on 40, 200 and all of them, the cheap ones
first, as long as it is expected to need no more than SECONDS (default 60) of processor time; it is stopped when it
needs half as much again. The records are in OUT, a results folder per row; the same command goes on from there, and
with more SECONDS further (with 0 it only makes the table from what there is). The table is written into RESULTS.md,
and with all its figures into attack_suite-NAME.json, both beside this file; NAME is the model's.

NAMEs such as "art:*" or "torchattacks:PGD*" run those attacks alone and write no table, so that several processes can
share the work; the command without them then makes the table from what there is.
"""

import fnmatch
import json
import math
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from results_page import markdown, section

import art_flat as af
from art_flat.cli.config import read_config
from art_flat.cli.run import load_data, load_model
from art_flat.errors import ArtFlatError
from art_flat.evaluation import Results
from art_flat.records.manifest import environment

HERE = Path(__file__).resolve().parent
LADDER = (8, 40, 200)

# Where the library's own settings take minutes an image, or are too weak to show what the attack can do.
SETTINGS = {
    "art:BoundaryAttack": ("max_iter=100, num_trial=10, sample_size=10",),
    "art:BrendelBethgeAttack": ("steps=50, binary_search_steps=5",),
    "art:CarliniL0Method": ("binary_search_steps=1, max_iter=5, initial_const=10.0",),
    "art:CarliniLInfMethod": (
        "max_iter=20, learning_rate=0.5, initial_const=0.1, const_factor=10.0, decrease_factor=0.5",
    ),
    "art:CompositeAdversarialAttackPyTorch": ("max_iter=2, max_inner_iter=5",),
    "art:DeepFool": ("epsilon=0.02, max_iter=50",),
    "art:ElasticNet": ("max_iter=30, binary_search_steps=3, initial_const=1.0",),
    "art:HopSkipJump": ("max_iter=10, max_eval=500, init_eval=50",),
    "art:PixelAttack": ("max_iter=10",),
    "art:SaliencyMapMethod": ("theta=1.0",),
    "art:ShadowAttack": ("nb_steps=100, batch_size=20",),
    "art:SignOPTAttack": ("max_iter=20, num_trial=20, k=20",),
    "art:SimBA": ("max_iter=1000, epsilon=0.3",),
    "art:ThresholdAttack": ("max_iter=5",),
    "art:UniversalPerturbation": ("attacker='pgd', max_iter=5, attacker_params={'max_iter': 10}",),
    "art:VirtualAdversarialMethod": ("max_iter=1",),
    "art:Wasserstein": (
        "max_iter=50, conjugate_sinkhorn_max_iter=50, projected_sinkhorn_max_iter=50, regularization=300.0",
    ),
    "art:ZooAttack": ("max_iter=30, learning_rate=0.3, initial_const=10.0",),
    "torchattacks:CW": ("", "c=10, steps=200, lr=0.05"),
    "torchattacks:EADEN": ("", "initial_const=1.0, binary_search_steps=5"),
    "torchattacks:EADL1": ("", "initial_const=1.0, binary_search_steps=5"),
}


class TooSlow(BaseException):  # evaluate() records exceptions and goes on
    pass


class Row:
    """One attack in one norm: where its records are, what they cost, and what they say."""

    def __init__(self, suite, info, settings, norm):
        self.suite, self.info, self.norm = suite, info, norm
        self.spec = f"{info.name}({settings})" if settings else info.name
        self.n, self.cost, self.results = 0, math.nan, None
        self.costs, self.hits = {}, None
        self.note = "" if info.usability == "refused" else info.reason

    def folder(self, n):
        word = "".join(c if c.isalnum() else "_" for c in self.spec)
        return self.suite.out / f"{word}-{self.norm}-{n}"

    def expected(self, n):
        """Processor seconds for n samples: a line through the last two runs, the start taken for half the first."""
        if not self.costs:
            return 0.0
        first = next(iter(self.costs.values()))
        (k, before), (m, last) = [(0, first / 2), *self.costs.items()][-2:]
        return last + max(last - before, 0.0) / (m - k) * (n - m)

    def run(self, n, limit):
        """Run on the first n samples unless it has been; the processor seconds of every unit are kept."""
        folder, costs = self.folder(n), self.known_costs(n)
        kept = folder.with_suffix(".json")
        if self.done(n):
            self.finish(n, Results.load(folder), costs)
            return
        if costs.get("stopped after", 0) >= limit:
            self.note = f"stopped after {costs['stopped after']:.0f} s for {n} samples"
            return
        last = [time.process_time()]

        def unit_done(state):
            now = time.process_time()
            if state.unit is not None:
                costs.setdefault(state.unit.key, now - last[0])
                kept.write_text(json.dumps(costs))
            last[0] = now

        signal.signal(signal.SIGPROF, _stop)
        signal.setitimer(signal.ITIMER_PROF, limit)
        try:
            results = self.suite.evaluate(self.spec, self.norm, n, folder, unit_done)
        except TooSlow:
            kept.write_text(json.dumps({**costs, "stopped after": limit}))
            self.note = f"stopped after {limit:.0f} s for {n} samples"
            return
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        self.finish(n, results, costs)

    def known_costs(self, n):
        """Processor seconds by unit of what has been run on n samples, and after how many it was stopped."""
        kept = self.folder(n).with_suffix(".json")
        return json.loads(kept.read_text()) if kept.exists() else {}

    def done(self, n):
        """Whether the records for n samples are complete."""
        units = len(self.known_costs(n).keys() - {"stopped after"})
        return units == math.ceil(n / self.suite.config.shard_size)

    def finish(self, n, results, costs):
        """Take what was found on n samples, in place of what was found on fewer."""
        self.n, self.results = n, results
        self.cost = self.costs[n] = sum(v for k, v in costs.items() if k != "stopped after")
        failures = self.results.failures()
        texts = [self.info.reason, *failures["error"].astype(str).str[:150].unique()]
        self.note = "; ".join(t for t in texts if t)

    def fooled(self):
        """Ids of the samples that are wrong at its points, or when clean, by the norm in which these are inside."""
        if self.hits is None:
            frame = self.results.records()
            ids = frame["sample"].to_numpy(np.int64)
            wrong, clean = (frame[c].ne(frame["label"]).fillna(False) for c in ("pred_adv", "pred_clean"))
            self.hits = {
                norm: set(ids[clean.to_numpy(bool) | (wrong & (frame[norm.lower()] <= delta)).to_numpy(bool)])
                for norm, delta in self.suite.deltas.items()
            }
        return self.hits

    def figures(self):
        head = {
            "attack": self.spec,
            "norm": self.norm,
            "budget": self.info.budget,
            "usable": self.info.usability,
        }
        if self.results is None:
            stopped = self.known_costs(LADDER[0]).get("stopped after")
            return {
                **head,
                "note": f"stopped after {stopped:.0f} s for {LADDER[0]} samples" if stopped else "not run",
            }
        cell = self.results.summary().iloc[0]
        names = {f"loss_change_robustness@{e:g}": f"Δℓ ≤ {e:g}" for e in self.results.facts["epsilons"]}
        return {
            **head,
            "n": self.n,
            "s": self.cost,
            "forwards": cell["forwards"],
            "robust accuracy": cell["robust_accuracy"],
            "best of all": self.suite.best(self.norm, self.n),
            **{short: cell[long] for long, short in names.items()},
            "maximises loss": bool(cell["maximises_loss"]),
            "fallback": cell["fallback"],
            "κ ratio": cell["flatness_ratio"],
            "flatter": cell["flat_fraction"],
            "failed": int(cell["n_failed"] + cell["n_skipped"]),
            "note": self.note,
        }


class Suite:
    """All rows for one model and one data set."""

    def __init__(self, config, out):
        self.config, folder = read_config(config)
        self.out = Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.data = load_data(self.config.data, folder)
        (self.name, model), *others = self.config.models.items()
        if others:
            raise SystemExit("attack_suite.py takes a configuration with one model")
        self.net = af.adapt(load_model(model, self.data, folder, self.name))
        self.deltas = {norm: float(np.ravel(d)[0]) for norm, d in self.config.deltas.items()}
        self.rows, self.refused = [], {}
        for info in af.list_attacks().values():
            self.add(info)

    def add(self, info):
        norms = info.norms if info.budget != "none" else info.norms[:1]
        if info.usability == "refused":
            self.refused[info.name] = info.reason
            return
        for settings in SETTINGS.get(info.name, ("",)):
            for norm in (n for n in norms if n in self.deltas):
                row = Row(self, info, settings, norm)
                try:
                    af.load_attack(row.spec).check(self.net, norm)
                except ArtFlatError as error:
                    self.refused[f"{info.name}, {norm}"] = str(error).removeprefix(f"{info.name} ")
                else:
                    self.rows.append(row)

    def evaluate(self, spec, norm, n, folder, progress):
        data, config = self.data, self.config
        return af.evaluate(
            {self.name: self.net}, data.x[:n], data.y[:n], samples=data.sample_ids[:n], attacks=[spec],
            deltas={norm: [self.deltas[norm]]}, epsilons=config.epsilons, seed=config.seed,
            shard_size=config.shard_size, certify=None, out=folder, progress=progress,
        )  # fmt: skip

    def climb(self, limit):
        """Every row on ever more samples, the cheap ones first."""
        reached = 0
        for n in sorted({min(n, len(self.data)) for n in (*LADDER, len(self.data))}):
            for row in sorted(self.rows, key=lambda row: row.expected(n)):
                if row.n == reached and (row.done(n) or row.expected(n) <= limit > 0):
                    row.run(n, 1.5 * limit)
                    print(f"{n:5d} {row.spec} {row.norm}: {row.cost:.1f} s {row.note}", flush=True)
            reached = n

    def best(self, norm, n):
        """Share of the first n samples that every point of every attack, measured in this norm, leaves right."""
        hit = set().union(*(row.fooled()[norm] for row in self.rows if row.results is not None))
        return 1 - np.mean([s in hit for s in self.data.sample_ids[:n]])

    def write(self):
        """The table in RESULTS.md and the figures in a JSON file."""
        rows = [row.figures() for row in self.rows]
        facts = {"environment": environment(), "threads": torch.get_num_threads(), "data": self.data.name}
        facts |= {"deltas": self.deltas, "rows": rows, "refused": self.refused}
        text = json.dumps(facts, indent=1, default=float, ensure_ascii=False)
        (HERE / f"attack_suite-{self.name}.json").write_text(text + "\n")
        radii = ", ".join(f"{norm} {delta:.4g}" for norm, delta in self.deltas.items())
        heading = f"## Every attack: {self.name} on {self.data.name}\n\nRadii: {radii}. "
        refused = "\n".join(f"- {name}: {reason}" for name, reason in self.refused.items())
        section(
            f"attack_suite-{self.name}", f"{heading}{LEGEND}\n\n{markdown(rows)}\n\nRefused:\n\n{refused}"
        )


LEGEND = (
    "n: samples attacked, the first ones of the data. s: processor seconds for all of them, one thread. best of all: "
    "robust accuracy that all rows together leave on the same samples, so what the row could have reached. "
    "Δℓ ≤ ε: loss-change robustness. fallback: share of points no better than the clean one. κ ratio: median of "
    "κ at the adversarial over κ at the clean point, flatter: share where it is below 1, both over points that turned "
    "wrong. failed: points the library broke down on or refused; they are in no other figure."
)


def _stop(*_):
    raise TooSlow


if __name__ == "__main__":
    config, out, *seconds = sys.argv[1:]
    suite = Suite(config, out)
    names = seconds[1:]
    if names:
        suite.rows = [
            row for row in suite.rows if any(fnmatch.fnmatch(row.info.name, name) for name in names)
        ]
    suite.climb(float(seconds[0]) if seconds else 60.0)
    if not names:
        suite.write()
