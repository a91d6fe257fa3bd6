"""`python -m coordsvc.cli`."""

from coordsvc.cli import main

main()
