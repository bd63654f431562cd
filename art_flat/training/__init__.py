"""Training of networks: gradient descent, also against an adversary or on certified bounds, in runs that resume.

`train` is the loop; `art-flat train config.toml` runs it from a file.

## Train a network
```bash
art-flat train train.toml --out nets/mine       # weights, model card, history; resumes exactly, also after Ctrl-C
```
```toml
[model]
factory = "art_flat.models:resnet18"                    # or your own "package.module:function"
options = { width = 0.25 }                              # a quarter of the channels

[data]
name = "cifar10"
root = "data"

[test]                                                  # optional: accuracy after every epoch
name = "cifar10"
root = "data"

[training]                                              # SGD and a cosine; see art_flat.training.TrainingSettings
epochs = 100
flip = true

[training.adversary]                                    # optional: adversarial training
delta = "8/255"
trainer = "pgd"                                         # or "art" for ART's AdversarialTrainer
```
In place of an adversary, `[training.certified]` (`delta`, `clean_weight`, `warmup`, `ramp`) trains on interval bounds
of the loss over balls around the samples, which makes certificates tight; see `art_flat.training.CertifiedLoss`.
```toml
[training.certified]
delta = 0.15                                            # slightly above the radius to be certified
```
"""

from ._adversary import Adversary as Adversary
from ._certified import CertifiedLoss as CertifiedLoss
from ._digits import trained_digits_cnn as trained_digits_cnn
from ._train import train as train
from .settings import TrainingSettings as TrainingSettings

__all__ = ["Adversary", "CertifiedLoss", "TrainingSettings", "train", "trained_digits_cnn"]
