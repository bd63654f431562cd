"""The tolerances of all comparisons of rounded numbers: one table, from the dtype and the length of the sums.

Processors add in different orders and some fuse a multiplication with the addition after it. Rounding errors have
either sign, so that a sum of n products is off by about √n units in the last place of its largest term, and
rarely by more than λ√n (Higham, Mary, SIAM J. Sci. Comput. 41, 2019); λ = 8 leaves room for two such results and for
the layers that pass an error on. What is exact in float64 is compared with 1e-10 or closer, where it stands.
"""

import math

import pytest
import torch

LAMBDA = 8
TERMS = {
    "value": 1,  # a conversion, a shift, a scaling, a projection, a function of one number
    "layer": 64,  # one linear map, its gradient
    "head": 128,  # loss, κ, norms of given logits and features; longer sums are added in blocks
    "net": 1024,  # logits, features, loss and κ of the tests' nets, all sums along the way counted: 9 + 144 + 512 + 64
    "gradient": 4096,  # a net there and back
    "steps": 2
    ** 20,  # the end of an attack or of a training, each step of which magnifies the errors before it
}


def rounding(what: str, dtype: torch.dtype = torch.float32) -> float:
    """How far two computations of `what` may differ, relative to the largest term of their sums."""
    return LAMBDA * math.sqrt(TERMS[what]) * torch.finfo(dtype).eps


def close(what: str, dtype: torch.dtype = torch.float32, *, scale: float = 1.0) -> dict[str, float]:
    """`rtol` and `atol` for numpy's and torch's comparisons.

    Args:
        what: A row of the table.
        dtype: The least precise dtype on the way.
        scale: Size of the largest terms, in the unit of the result; 0 where nothing cancels, such as in sums of
            squares.
    """
    return {"rtol": rounding(what, dtype), "atol": scale * rounding(what, dtype)}


def near(expected, what: str, dtype: torch.dtype = torch.float32, *, scale: float = 1.0):
    """The same for `==` with Python numbers, as `pytest.approx`."""
    return pytest.approx(expected, rel=rounding(what, dtype), abs=scale * rounding(what, dtype))
