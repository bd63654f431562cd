"""`art-flat init`: a commented configuration to start from."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError

_DIGITS = "art_flat.training:trained_digits_cnn"

_TEMPLATE = """\
# A run of art-flat: your models, your data, and how to attack them.
#
#   art-flat check {file}                 checks models and data, and estimates the cost; seconds
#   art-flat run {file} --out results     runs it; the same command continues an interrupted run
#   art-flat run {file} --out small --set data.n=20     with other values for single keys
#
# A line that starts with "# " and a key shows a default or an example: remove the "# " to use it.

seed = 0

# Radii of the balls in units of the inputs, per norm: Linf, L2, L1, L0. Other libraries call a radius eps.
deltas = {{ Linf = [{radii}] }}

# Tolerated rises of the loss, in nats: scores say for how many samples the loss rises by no more anywhere in the ball.
epsilons = [0.01, 0.1, 1.0]

# Suites (fast, standard, paper, noise, ...) and single attacks; `art-flat attacks` lists them.
attacks = ["fast"]
# attacks = ["fast", "art_flat:PGD(steps=100)"]
# An attack of your own: a function (module, x, y) -> x_adv in mymodule.py beside this file.
# attacks = ["fast", "mymodule:one_step"]

# Certificates, the lower ends of the brackets: auto, lipschitz, crown, branch or none.
# certify = "auto"

# Keep the adversarial points, for images in the report.
save_adversarial = true


# One section per model; add [models.another] to compare.
[models.{name}]
# "package.module:function" of a function that returns an ART classifier, or a torch network from inputs to logits.
# A module beside this file is found.
factory = "{factory}"
# weights = "weights.safetensors"       # loaded into the network; .pt and .pth files too
# mean = 0.1307                         # normalisation (x - mean)/std before a network; or one number per channel
# std = 0.3081
# options = {{ width = 2 }}               # keyword arguments for the function


[data]
# digits (nothing to download), mnist, cifar10, imagefolder or npz
name = "digits"
n = 100                                 # number of samples
# split = "test"
# name = "npz"                          # arrays x and y, values in [0, 1] or with clip_values
# path = "data.npz"
# name = "imagefolder"                  # a folder of images per class; or mnist, cifar10
# root = "data"
# size = 224


# Further figures for the report: trajectories of attacks, attacks at other scales of the head, rays.
# [analyses]
# trajectories = ["art_flat:PGD(steps=20)"]
# scale_sweep = true
# radial_profile = true
"""


def write_starter(path: Path, model: str | None = None) -> None:
    """Write a commented configuration.

    Args:
        path: The new file.
        model: Import string of the model, `"package.module:function"`; a small CNN for digits if None.

    Raises:
        ConfigError: If the file exists or cannot be written, or the import string has another form.
    """
    factory = _DIGITS if model is None else model
    module, colon, function = factory.partition(":")
    if not (module and colon and function) or '"' in factory or "\\" in factory:
        raise ConfigError(f"--model must look like package.module:function, got {model!r}")
    text = _TEMPLATE.format(
        file=path.name, factory=factory, name="digits_cnn" if model is None else "mine",
        radii="0.02, 0.05" if model is None else '"2/255", "8/255"',
    )  # fmt: skip
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists; choose another name, or remove it") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
