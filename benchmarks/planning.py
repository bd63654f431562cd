"""Accuracy of `plan`, and the speed-up by two workers: python benchmarks/planning.py [CONFIG] [N]

CONFIG is a file as `art-flat run` takes it, without analyses; default `benchmarks/mnist/config.toml`, whose weights
`benchmarks/mnist/train.py` makes. N samples of it are planned, run with one worker and with two of one thread each, and
compared. Then ResNet-50's passes at 224×224 are timed, for the large case on paper. Writes planning.json and the
measured tables of planning.md, both beside this file. Takes ten minutes; nothing else should run.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
import torchvision
from results_page import markdown, section

import art_flat as af
from art_flat.cli.config import read_config
from art_flat.cli.run import prepare
from art_flat.evaluation import plan
from art_flat.records.manifest import environment

HERE = Path(__file__).resolve().parent
IMAGES, ATTACKS, MODELS, RADII = 50_000, 30, 8, 5


def against_real_runs(config, n, folder):
    """Plan the run, make it with one worker and with two, and compare."""
    said, place = read_config(config)
    said = said.model_copy(update={"data": said.data.model_copy(update={"n": n})})
    data, models, run = prepare(said, place)
    x, y = data.x, data.y
    torch.set_num_threads(1)
    planned = plan(models, x, y, **run)
    seconds, results = {}, {}
    for workers in (1, 2):
        out = Path(folder) / str(workers)
        began = time.perf_counter()
        results[workers] = af.evaluate(models, x, y, **run, out=out, n_jobs=workers)
        seconds[workers] = time.perf_counter() - began
    one, two = (r.adversarial.drop(columns="seconds") for r in (results[1], results[2]))
    pd.testing.assert_frame_equal(one, two)
    disk = sum(f.stat().st_size for f in out.rglob("*/*.parquet"))
    own = planned.units[planned.units["attack"] != "(clean points)"].groupby("attack")["seconds"].sum()
    real = results[1].adversarial.groupby("attack")["seconds"].sum()
    return {
        "samples": len(x), "units": len(planned.units), "records": len(one),
        "planned seconds": planned.seconds(1), "probe seconds": planned.probe_seconds,
        "seconds of one worker": seconds[1], "seconds of two workers": seconds[2],
        "planned / real, one worker": planned.seconds(1) / seconds[1],
        "planned / real, per attack": (own / real).dropna().to_dict(),
        "planned bytes / real": float(planned.units["bytes"].sum()) / disk,
        "speed-up of two workers": seconds[1] / seconds[2],
        "passes per point": {
            name: float(g[["forwards", "backwards"]].sum().sum() / g["samples"].sum())
            for name, g in planned.units.groupby("attack")
        },
        "bytes per record": disk / len(one),
    }  # fmt: skip


def large_rates():
    """Seconds of a forward pass, and of a forward and a backward pass, of ResNet-50 per image at 224×224."""
    torch.set_num_threads(1)
    net = torchvision.models.resnet50(weights=None).eval().requires_grad_(False)
    x = torch.rand(4, 3, 224, 224)

    def forward():
        with torch.inference_mode():
            net(x)

    def both():
        net(x.clone().requires_grad_()).logsumexp(1).sum().backward()

    rates = {}
    for name, call in (("forward", forward), ("forward and backward", both)):
        call()
        began = time.perf_counter()
        for _ in range(5):
            call()
        rates[name] = (time.perf_counter() - began) / 5 / len(x)
    return rates


def tables(measured, rates):
    """The measured part of planning.md."""
    m = measured
    said = [
        ("planned / measured wall-clock time, one worker", m["planned / real, one worker"]),
        ("planned / measured bytes on the disk", m["planned bytes / real"]),
        ("speed-up of two workers over one, one thread each", m["speed-up of two workers"]),
        ("bytes on the disk per record", m["bytes per record"]),
        ("time of the plan / of the run it plans", m["probe seconds"] / m["seconds of one worker"]),
    ]
    ratios = m["planned / real, per attack"]
    points = IMAGES * ATTACKS * MODELS * RADII
    passes = 40 * rates["forward and backward"] + 10 * rates["forward"]
    large = [
        ("a forward pass of ResNet-50, one thread", f"{rates['forward']:.3g} s an image"),
        ("a forward and a backward pass", f"{rates['forward and backward']:.3g} s an image"),
        ("one point: 40 forward-backward pairs, 10 forward passes", f"{passes:.3g} s"),
        ("60 million points on one such thread", f"{points * passes / 3600 / 24 / 365:.3g} years"),
        ("on 512 such threads (`--part 1/512` …)", f"{points * passes / 512 / 3600 / 24:.3g} days"),
        ("records on the disk", f"{points * m['bytes per record'] / 1e9:.3g} GB"),
    ]
    return "\n".join([
        f"`python benchmarks/planning.py`: {m['samples']} samples of the MNIST run, {m['units']} units, "
        f"{m['records']} records; the records of one and two workers are equal.\n",
        markdown([{"what": a, "measured": b} for a, b in said]), "",
        markdown([{"attack": k, "planned / measured seconds": v} for k, v in ratios.items()]), "",
        "The large case with rates measured here:\n",
        markdown([{"what": a, "here": b} for a, b in large]),
    ])  # fmt: skip


def main(config=HERE / "mnist" / "config.toml", n="1000"):
    """Measure, and write both files."""
    with tempfile.TemporaryDirectory() as folder:
        measured = against_real_runs(Path(config), int(n), folder)
    rates = large_rates()
    kept = {"environment": environment(), "run": measured, "seconds per image, ResNet-50": rates}
    (HERE / "planning.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    text = tables(measured, rates)
    section("planning", text, "planning.md")
    print(text)


if __name__ == "__main__":  # workers import this file
    main(*sys.argv[1:])
