"""The command line. Each command is a module; `coordsvc.cli.commands` joins them.

Nothing is imported here: what a command shows and remembers needs no Ray, and is tested without.
"""
