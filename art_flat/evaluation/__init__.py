"""Run attacks over a grid of models, norms and radii, and read every score from the records.

## Results
A whole evaluation runs every attack once, keeps one record per sample, and reads every score from the records:
```python
results = af.evaluate(
    {"digits": net}, x, y,
    attacks=["art_flat:APGD(steps=20)", "torchattacks:PGD(steps=10)", "art:DeepFool(max_iter=20)"],
    deltas={"Linf": [0.05, 0.1], "L2": [0.5]},
    out="results/digits", seed=0,
)
results.summary(epsilons=[0.1, 1.0])     # a DataFrame; no model is run
results.records()                        # one row per sample, attack and δ
results.report("results/digits.html")    # one HTML file: verdict, surface, attacks, valley, samples; no network
results.to_markdown()                    # tables and notes for a README
results.to_robustbench("model_info")     # JSON with the fields of RobustBench, one file per model, norm and δ
af.Results.load("results/digits")        # load it again
```

## Long runs and clusters
A run is cut into units (model, attack, norm, δ, shard of samples). A unit's key is a hash of everything that
determines its result, and its seed comes from the key, so one process, eight workers, parts on a cluster, or a run
that was killed and resumed produce the same records, bit for bit on a CPU. Each unit is one Parquet file, written
atomically; a damaged file is quarantined and computed again, and a folder with a different configuration is rejected
with a list of the differences.
```bash
art-flat run config.toml --out results/mine --n-jobs -1       # a worker process per core, one thread each
art-flat run config.toml --out part-3 --part 3/16             # a share, as for a SLURM array
art-flat merge part-* --out results/mine                      # merge the shares
```
```py
import joblib
from dask.distributed import Client                      # extra "dask"

with Client("tcp://scheduler:8786"), joblib.parallel_config(backend="dask"):
    af.evaluate(net, x, y, attacks="standard", deltas={"Linf": [8/255]}, out="/shared/results", time_limit=3600)
```
On Ray (extra `ray`) it is `ray.util.joblib.register_ray()` and the backend `"ray"`; progress then shows only at the
end of a level of units, since that backend returns lists. Workers write their units to the folder themselves, so it
must be on a shared disk; if one is killed, only its current unit is computed again. Attacks that raise, hang, return
invalid points or change the model are recorded as failed (`Results.failures`), and the run continues. Weights are
read as safetensors or as plain tensors; pickles that can run code only with `--trust`. A large example:
[benchmarks/planning.md](../../benchmarks/planning.md).

art_flat is developed and tested on Linux, with the kernels of three kinds of x86 processors. On macOS and Windows it
has not been run; their differences are tested on Linux where possible: paths with drive letters, names that differ
only in case, and files that cannot be replaced while another program has them open (art_flat waits). There, `n_jobs=`
needs the guard `if __name__ == "__main__":` around the main script, and Windows chooses GPUs for workers by process
number instead of by lock. Apple's GPUs (MPS) have no float64: sums are then in float32.
"""

from ..diagnostics import Finding as Finding
from ..diagnostics import diagnose as diagnose
from ..records import ALL_ATTACKS as ALL_ATTACKS
from ._evaluate import evaluate as evaluate
from .art import FlatnessEvaluation as FlatnessEvaluation
from .merging import Merged as Merged
from .merging import merge as merge
from .planning import Plan as Plan
from .planning import plan as plan
from .progress import Progress as Progress
from .results import Results as Results

__all__ = [
    "ALL_ATTACKS",
    "Finding",
    "FlatnessEvaluation",
    "Merged",
    "Plan",
    "Progress",
    "Results",
    "diagnose",
    "evaluate",
    "merge",
    "plan",
]
