"""What the outside can measure of the service."""
