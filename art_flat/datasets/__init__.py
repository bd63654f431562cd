"""Data sets by name, as arrays of inputs in a known range and int64 labels."""

from ._batches import stack_batches as stack_batches
from ._dataset import Dataset as Dataset
from ._load import NAMES as NAMES
from ._load import load_dataset as load_dataset

__all__ = ["NAMES", "Dataset", "load_dataset", "stack_batches"]
