"""What was decided: written down, read again, done again, done otherwise, and explained."""
