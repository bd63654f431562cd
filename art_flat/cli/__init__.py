"""The command line `art-flat`.

## From a file
```bash
art-flat init                                   # writes a commented config.toml; --model package.module:make for yours
art-flat check config.toml                      # head, accuracy, clip range, suspicious set-ups and cost, in seconds
art-flat plan config.toml                       # its estimated cost: units, passes, hours, gigabytes
art-flat run config.toml --out results/mine    # resumes an interrupted run; Ctrl-C and kill -9 lose nothing
art-flat summary results/mine --epsilon 0.05    # any ε afterwards
art-flat report results/mine                    # the report again; with images if the run has save_adversarial = true
art-flat attacks                                # every attack, its norms and usability
```
```toml
seed = 0
deltas = { Linf = ["2/255", "8/255"], L2 = [0.5] }
epsilons = [0.1, 1.0]
attacks = ["fast", "torchattacks:PGD(steps=50)"]        # suites and single attacks

[models.standard]
factory = "mypackage.models:make_classifier"            # returns an ART classifier, or a torch network of logits
weights = "standard.safetensors"                        # optional; or a public .th, .pt, .pth: benchmarks/README.md
mean = 0.1307                                           # optional: (x − mean)/std first; or one number per channel
std = 0.3081

[data]
name = "mnist"                                          # digits, mnist, cifar10, imagefolder, npz
root = "data"
n = 1000

[analyses]                                              # optional: the valley's figures in the report
trajectories = ["art_flat:PGD(steps=20)"]
scale_sweep = true
radial_profile = true
```
"""
