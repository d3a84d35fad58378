"""`python -m turnback` is the command `turnback`."""

from turnback.entrypoints.cli import main

main()
