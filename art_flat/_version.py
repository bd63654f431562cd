"""The version of art_flat."""

__version__ = "0.1.0"
