"""Notes that several attacks share; each is a fact found by running them or reading their sources."""

from __future__ import annotations

ZERO = "a sample whose gradient underflows to 0 becomes NaN and is recorded as failed"
LAST = "gives back its last iterate, not its best"
FLIP = "stops at the first wrong prediction and gives back the clean image where it finds none"
OUTSIDE = "asks the classifier for points outside the input range"
COPIES = "climbs the loss of transformed copies of the input, which is meant for transfer to other models"
BATCH = "what it finds for a sample depends on the other samples of the batch"
STOPS = "stops when the loss of the whole batch rises: " + BATCH
ALONE = "does not use delta: it runs once, and its points are read at every delta"
WIDE = "one-channel classifiers are shown to it as three equal channels, of which the mean is taken"
POSITIVE = (
    "the library's margin takes the largest logit with the others set to 0; a constant added to all logits "
    "makes this the true margin"
)
SEED = (
    "the library sets torch's global seed, to 0 unless told; here to the seed of the call, and the generators are put "
    "back"
)
RESTART = "a restart is only made for samples that are still right"
