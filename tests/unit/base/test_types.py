"""Claims about `autotune.base.types`: what resources fit, and how a machine is written down."""

from __future__ import annotations

from pathlib import Path

import found
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.base import json_files
from autotune.base.types import Machine, Resources

some = st.builds(Resources, cores=st.integers(0, 64), memory_gib=st.floats(0.0, 1e3), gpus=st.integers(0, 4))


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Resources(cores=4, memory_gib=8.0, gpus=1), True),
        (Resources(cores=5, memory_gib=8.0, gpus=1), False),
        (Resources(cores=4, memory_gib=8.1, gpus=1), False),
        (Resources(cores=4, memory_gib=8.0, gpus=2), False),
        (Resources(cores=1, memory_gib=0.0), True),
    ],
)
def test_resources_fit_where_nothing_of_them_is_more(wanted, fits):
    assert wanted.fits(Resources(cores=4, memory_gib=8.0, gpus=1)) is fits


@given(some, some)
def test_what_fits_leaves_nothing_negative(wanted, there):
    left = there.minus(wanted)
    assert wanted.fits(there) == (min(left.cores, left.memory_gib, left.gpus) >= 0)


def test_a_machine_in_a_file_of_before_gpus_were_counted_has_none():
    fields = json_files.fields_of(found.MACHINE)
    assert list(fields)[:3] == ["cores", "memory_gib", "gpus"]
    del fields["gpus"]
    assert json_files.validate(Machine, fields, Path("old.json")) == found.MACHINE
