"""What an author of an attack plugin needs for tests."""

from .attack_contract import AttackContract as AttackContract
from .attack_contract import small_problem as small_problem

__all__ = ["AttackContract", "small_problem"]
