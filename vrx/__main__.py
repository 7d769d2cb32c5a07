"""`python -m vrx`."""

from vrx.cli.app import main

main()
