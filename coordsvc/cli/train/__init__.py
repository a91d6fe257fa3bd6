"""`coordsvc train`: from dialogues to adapters that the service serves."""
