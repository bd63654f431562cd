"""Notes shared by several attacks; each was verified by running them or reading their source code."""

from __future__ import annotations

ZERO = "a sample whose gradient underflows to 0 becomes NaN and is recorded as failed"
LAST = "returns its last iterate, not its best"
FLIP = "stops at the first wrong prediction and returns the clean image where it finds none"
OUTSIDE = "queries the classifier outside the input range"
COPIES = "maximises the loss of transformed copies of the input, which is meant for transfer to other models"
BATCH = "the result for a sample depends on the other samples of the batch"
STOPS = "stops when the loss of the whole batch rises: " + BATCH
ALONE = "does not use delta: it runs once, and its points are read at every delta"
WIDE = "one-channel inputs become three equal channels, whose mean is passed to the classifier"
POSITIVE = (
    "the library's margin takes the largest logit with the others set to 0; a constant added to all logits "
    "makes this the true margin"
)
SEED = (
    "the library sets torch's global seed, by default to 0; here to the seed of the call, and the generators are "
    "restored"
)
RESTART = "restarts only samples that are still correctly classified"
