"""Train an FCN and a CNN on all of MNIST, a minute on two cores: python benchmarks/mnist/train.py [ROOT]

ROOT is the folder with MNIST/raw in it, as torchvision leaves it. The weights are written beside this file, where
config.toml looks for them.
"""

import sys
from pathlib import Path

from art_flat.datasets import load_dataset
from art_flat.models import fcn, mnist_cnn, save_weights
from art_flat.training import train

HERE = Path(__file__).resolve().parent
NETS = {"fcn": (fcn, 4), "cnn": (mnist_cnn, 2)}


def main(root: Path) -> None:
    data, test = load_dataset("mnist", root=root, split="train"), load_dataset("mnist", root=root)
    for name, (make, epochs) in NETS.items():
        net = train(make(), data.x, data.y, epochs=epochs, seed=0)
        save_weights(net, HERE / f"{name}.safetensors")
        weight = next(net.parameters())
        right = sum(
            int((net(weight.new_tensor(test.x[i : i + 500])).argmax(1).numpy() == test.y[i : i + 500]).sum())
            for i in range(0, len(test), 500)
        )
        print(f"{name}: {epochs} epochs, test accuracy {right / len(test):.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[2] / "shared" / "data" / "mnist")
