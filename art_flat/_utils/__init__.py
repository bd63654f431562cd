"""Helpers without knowledge of models or attacks: arrays, validation, random numbers, time limits."""
