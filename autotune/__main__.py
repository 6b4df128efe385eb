"""Lets `python -m autotune` be the command line."""

from autotune.cli import main

main()
