"""The four tables of a run, on disk and in memory, read without a model."""
