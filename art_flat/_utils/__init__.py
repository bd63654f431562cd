"""Helpers independent of models and attacks: arrays, validation, random numbers, time limits."""
