"""`python -m coordsvc.cli`."""

from coordsvc.cli.commands import main

main()
