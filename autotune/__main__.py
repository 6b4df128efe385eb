"""Lets `python -m autotune` be the command line."""

from autotune.cli.main import main

main()
