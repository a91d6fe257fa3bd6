"""Planner, responder, checker, and the conductor of a turn: async, against ports only."""
