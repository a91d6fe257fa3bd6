"""Planner, responder and checker, and the conductor of a turn: async, written against ports only."""
