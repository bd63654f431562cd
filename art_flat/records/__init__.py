"""The four tables of a run, on disk and in memory, read without a model."""

from .model_records import ALL_ATTACKS as ALL_ATTACKS
from .model_records import CONFIDENT as CONFIDENT
from .model_records import ModelRecords as ModelRecords
from .records import Records as Records

__all__ = ["ALL_ATTACKS", "CONFIDENT", "ModelRecords", "Records"]
