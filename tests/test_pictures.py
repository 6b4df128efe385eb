"""The picture of a calibration shows its numbers, and nothing odd in a tuning keeps it from being drawn."""

from __future__ import annotations

import struct
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest
from hypothesis import HealthCheck, given, settings

from autotune import plots
from autotune.errors import InputError, ResourceError

sys.path.insert(0, str(Path(__file__).parent))
import found
from test_explain import odd_tunings


def words_of(tuning, folder):
    """Return the text in the picture of a tuning."""
    path = folder / "calibration.svg"
    with mpl.rc_context({"svg.fonttype": "none"}):
        plots.calibration(tuning, path)
    return path.read_text()


def test_a_calibration_is_drawn_at_1200_by_900_pixels(tmp_path):
    path = tmp_path / "calibration.png"
    plots.calibration(found.tuning(), path)
    assert struct.unpack(">II", path.read_bytes()[16:24]) == (1200, 900)


def test_the_four_panels_show_what_was_found(tmp_path):
    text = words_of(found.tuning(), tmp_path)
    best = max(t.speed_up for t in found.search() if (t.workers, t.width) == (8, 2))
    for word in (
        "pyscf mp2/cc-pvdz energy",
        "noise: ±4.2 %",
        "given up early",
        f">{best:.2f}<",
        ">failed<",
        "newest_blas_kernel",
        "> 62<",
        "Tuned against default: faster",
        "(1.28 to 1.33)",
        "benzene2",
        ">4 pairs<",
    ):
        assert word in text, word


def test_empty_panels_say_why(tmp_path):
    text = words_of(found.tuning(trials=(), pairs=(), importances={}, interval=None, verdict="same"), tmp_path)
    for word in ("no trials", "too few trials to tell", "no pairs were run"):
        assert word in text


@pytest.mark.parametrize(
    "trials",
    [
        (found.trial(source="default"),),
        (found.trial(state="failed"), found.trial(state="failed", width=2)),
        tuple(replace(found.trial(speed_up=1.0 + n / 10), workers=1) for n in range(4)),
    ],
    ids=["only the default", "all failed", "one worker"],
)
def test_a_search_that_found_little_is_drawn(tmp_path, trials):
    path = tmp_path / "calibration.png"
    plots.calibration(found.tuning(trials=trials), path)
    assert path.stat().st_size > 10_000


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd_tunings())
def test_nothing_odd_in_a_tuning_keeps_it_from_being_drawn(tmp_path, tuning):
    plots.calibration(tuning, tmp_path / "odd.png")


def draw_schedule(path):
    plots.schedule([], cores=2, title="nothing ran", path=path)


def draw_calibration(path):
    plots.calibration(found.tuning(trials=(), pairs=(), importances={}), path)


@pytest.mark.parametrize("draw", [draw_schedule, draw_calibration])
def test_what_is_wrong_with_the_file_is_said(tmp_path, monkeypatch, draw):
    with pytest.raises(InputError, match=r"picture\.xyz cannot be drawn: .*xyz"):
        draw(tmp_path / "picture.xyz")
    with pytest.raises(ResourceError, match=r"cannot be written: No such file or directory"):
        draw(tmp_path / "missing" / "picture.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match="pictures need matplotlib"):
        draw(tmp_path / "picture.png")
