"""Memory while samples stream from a file through `relative_sharpness`: fresh processes, one per n."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from ._harness import Row, Settings, python

CODE = """
import json, sys, threading, time
import numpy as np, torch, art_flat as af
from torch import nn
from art_flat.models import as_classifier
path, n = sys.argv[1], int(sys.argv[2])
def own():  # anonymous memory: what the process itself holds, without pages of the file
    lines = open("/proc/self/status").read().splitlines()
    return int(next(l for l in lines if l.startswith("RssAnon")).split()[1]) / 1024
torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
net = af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=10))
x = np.memmap(path, dtype=np.float32, mode="r", shape=(n, 1, 8, 8))
net.relative_sharpness(np.array(x[:2000]))
before = peak = own()
done = False
def watch():
    global peak
    while not done:
        peak = max(peak, own())
        time.sleep(0.002)
thread = threading.Thread(target=watch); thread.start()
kappa = net.relative_sharpness(x)
done = True; thread.join()
assert kappa.shape == (n,)
print(json.dumps({"before": before, "peak": peak}))
"""


def measure(settings: Settings) -> list[Row]:
    sizes = settings.size([10_000, 100_000, 1_000_000], [2_000, 4_000])
    if not Path("/proc/self/status").exists():
        return [Row("memory of `relative_sharpness`", "", "–", note="needs Linux's /proc")]
    grown = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.bin"
        with path.open("wb") as file:
            file.truncate(max(sizes) * 64 * 4)  # zeros, and no space on the disk
        for n in sizes:
            out = subprocess.run(
                python("-c", CODE, str(path), str(n)), capture_output=True, text=True, check=True
            )
            found = json.loads(out.stdout.splitlines()[-1])
            grown[n] = found["peak"] - found["before"]
    spread = max(grown.values()) - min(grown.values())
    figure = ", ".join(f"{n:,}: +{mb:.0f} MB" for n, mb in grown.items())
    note = "memory of the process beyond what it held before, samples memory-mapped; the result itself is 4 bytes each"
    what = "peak memory of `relative_sharpness` over n streamed samples of 64 numbers"
    return [
        Row(
            what,
            "the smallest n",
            figure,
            "within 50 MB",
            spread <= 50,
            note,
            {str(n): v for n, v in grown.items()},
        )
    ]
