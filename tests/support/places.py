"""Where things are in a checkout."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
CASES = TESTS / "cases"
DISTRIBUTIONS = TESTS / "distributions"
SUPPORT = TESTS / "support"
