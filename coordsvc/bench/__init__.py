"""Measurements of the service itself; each compares inside one run and prints one JSON object."""
