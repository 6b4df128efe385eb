"""Times and amounts of memory as people type them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.base.errors import InputError
from autotune.base.quantities import parse_duration, parse_memory


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("2m", 120), ("2 min", 120), ("1.5h", 5400), (" 3M ", 180), ("0.5s", 0.5), ("1d", 86400)],
)
def test_a_duration_has_a_unit_or_is_in_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        *[("8", 2**33), ("8GiB", 2**33), ("8 g", 2**33), ("8G", 2**33), ("8GB", 8 * 10**9), ("1e1", 10 * 2**30)],
        *[("500MB", 5 * 10**8), ("512MiB", 2**29), ("512m", 2**29), (".5T", 2**39), ("1tb", 10**12), ("2k", 2048)],
    ],
)
def test_memory_has_a_unit_or_is_in_gib(text, bytes_):
    assert parse_memory(text) * 2**30 == pytest.approx(bytes_, rel=1e-15)


WORDS = {parse_duration: "is not a duration; give for example 90s, 2m or 1h", parse_memory: "is no amount of memory"}


@pytest.mark.parametrize("parse", WORDS)
@given(st.text(max_size=12) | st.from_regex(r"-?\d{1,400}(\.\d+)?(e\d{1,3})?[smhdgGkibB]{0,3}", fullmatch=True))
def test_whatever_is_no_positive_number_with_a_unit_is_refused(parse, text):
    fault, found = "", math.nan
    try:
        found = parse(text)
    except InputError as error:
        fault = str(error)
    if fault:
        assert WORDS[parse] in fault
        assert fault.isprintable()
    else:
        assert 0.0 < found < math.inf
        assert any(letter.isdigit() for letter in text)
