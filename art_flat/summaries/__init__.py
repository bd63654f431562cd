"""From records to tables of scores; no model is run."""
