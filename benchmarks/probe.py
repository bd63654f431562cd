"""What riding along costs: python benchmarks/probe.py [REPEATS]

trace_attack against the same attack, torchattacks PGD with 5 steps on a ResNet-18, 32 images of 3×32×32;
interleaved, the median of the ratios.
"""

import statistics
import sys
import time

import torch

import art_flat as af
from art_flat.models import as_classifier, resnet18


def main(repeats):
    torch.manual_seed(0)
    net = af.adapt(as_classifier(resnet18().eval(), input_shape=(3, 32, 32), nb_classes=10))
    x, y = torch.rand(32, 3, 32, 32), torch.randint(0, 10, (32,))
    attack = af.load_attack("torchattacks:PGD(steps=5)")
    ratios = []
    for _ in range(repeats + 1):
        started = time.process_time()
        attack(net, x, y, delta=8 / 255, norm="Linf")
        plain = time.process_time() - started
        started = time.process_time()
        af.trace_attack(net, attack, x, y, delta=8 / 255, norm="Linf")
        ratios.append((time.process_time() - started) / plain)
    print(
        f"trace_attack / attack: {statistics.median(ratios[1:]):.3f}, {min(ratios[1:]):.3f}…{max(ratios[1:]):.3f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
