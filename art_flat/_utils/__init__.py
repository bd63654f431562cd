"""Helpers that know neither models nor attacks: arrays, validation, random numbers, time limits."""
