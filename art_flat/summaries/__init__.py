"""Tables of scores computed from records; no model is run."""

from ._failures import failures as failures
from ._not_run import not_run as not_run
from ._optimality import optimality as optimality
from ._summary import summarise as summarise
from ._surface import surface as surface
from .selection import Selection as Selection
from .selection import select as select

__all__ = ["Selection", "failures", "not_run", "optimality", "select", "summarise", "surface"]
