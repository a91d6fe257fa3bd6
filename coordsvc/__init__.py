"""Coordination-aware serving of planner, responder and checker agents on shared accelerators."""

__version__ = "0.1.0"
