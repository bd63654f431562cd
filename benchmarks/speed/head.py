"""The head alone, as large as ImageNet's: κ of every chunk after the linear layer, against the linear layer alone."""

from __future__ import annotations

import torch

from art_flat.functional import relative_sharpness

from ._harness import Row, Settings, at_most, median_seconds, paired

K, D, CHUNK = 1000, 2048, 5000


def measure(settings: Settings) -> list[Row]:
    chunks = settings.size(20, 1)
    torch.manual_seed(0)
    weight, bias = torch.randn(K, D) / D**0.5 * 3, torch.zeros(K)
    # one chunk of features, used again and again: all 100,000 of them would be 0.8 GB
    features, logits = (
        torch.randn(settings.size(CHUNK, 200), D).abs(),
        torch.empty(settings.size(CHUNK, 200), K),
    )

    def linear(with_kappa):
        def run():
            with torch.inference_mode():
                norm = torch.linalg.vector_norm(weight)
                for _ in range(chunks):
                    torch.addmm(bias, features, weight.T, out=logits)
                    if with_kappa:
                        relative_sharpness(logits, features, weight, weight_norm=norm)

        return run

    n = chunks * len(features)
    timing = paired(linear(True), linear(False), settings, least=10)
    norm = torch.linalg.vector_norm(weight)
    with torch.inference_mode():
        alone = median_seconds(
            lambda: relative_sharpness(logits, features, weight, weight_norm=norm), settings, most=51
        )
    floor = 4 * (K + D) * len(features)
    copy = torch.empty_like(features)
    copying = median_seconds(lambda: copy.copy_(features), settings, most=51)
    read = floor / alone / 1e9
    note = (
        f"κ alone {1e6 * alone / len(features):.2f} µs a sample: {read:.1f} GB/s over the floor of 4(k + d) bytes a "
        f"sample; a copy moves {2 * 4 * features.numel() / copying / 1e9:.1f} GB/s"
    )
    return [
        at_most(
            f"linear layer and κ, d = {D}, k = {K}, n = {n * timing.pairs:,} in chunks of {len(features):,}",
            "the linear layer alone",
            timing,
            1.10,
            note,
            closest=1.04,
        )
    ]
