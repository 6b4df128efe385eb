"""The picture of a calibration shows its numbers, and nothing odd in a tuning keeps it from being drawn."""

from __future__ import annotations

import struct
from dataclasses import replace

import found
import matplotlib as mpl
import pytest
from found import odd_tunings
from hypothesis import HealthCheck, given, settings

from autotune.base.errors import InputError, ResourceError
from autotune.reports import calibration_picture, figures, run_pictures


def words_of(tuning, folder):
    """Return the text in the picture of a tuning."""
    path = folder / "calibration.svg"
    with mpl.rc_context({"svg.fonttype": "none"}):
        calibration_picture.draw(tuning, path)
    return path.read_text()


def test_the_four_panels_show_what_was_found(tmp_path):
    text = words_of(found.tuning(), tmp_path)
    best = max(t.speed_up for t in found.search() if (t.workers, t.width) == (8, 2))
    for word in (
        "pyscf mp2/cc-pvdz energy",
        "noise: ±4.2 %",
        "given up early",
        f">{best:.2f}×<",
        ">failed<",
        "newest_blas_kernel",
        "> 62<",
        "Tuned against default: faster",
        "(1.28 to 1.33)",
        "benzene2",
        ">4 pairs<",
    ):
        assert word in text, word


def test_cells_say_how_many_tasks_a_second_the_fastest_whole_trial_did(tmp_path):
    kinds = ((1.0, "done", (10.0, 5.5)), (1.25, "done", (8.0, 4.4)), (2.0, "pruned", (1.0,)), (2.0, "done", (1.0,)))
    trials = [replace(found.trial(speed_up=s, state=state), wall_s=wall_s) for s, state, wall_s in kinds]
    text = words_of(found.tuning(trials=tuple(trials)), tmp_path)
    assert f"{31 / 12.4:.3g} tasks/s" in text
    assert text.count("tasks/s") == 1


def test_a_picture_is_checked_without_being_written(tmp_path):
    for name in ("a.png", "a.SVG", "a.pdf"):
        figures.check(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ResourceError, match="cannot be written: there is no folder"):
        figures.check(tmp_path / "missing" / "a.png")
    for name, words in (
        ("a.xyz", r"a\.xyz cannot be drawn: its ending must be one of .*png"),
        ("a", "cannot be drawn"),
    ):
        with pytest.raises(InputError, match=words):
            figures.check(tmp_path / name)


def test_empty_panels_say_why(tmp_path):
    text = words_of(found.tuning(trials=(), pairs=(), importances={}, interval=None, verdict="same"), tmp_path)
    for word in ("no trials", "too few trials to tell", "no pairs were run"):
        assert word in text


@pytest.mark.parametrize(
    "trials",
    [
        found.search(),
        (found.trial(source="default"),),
        (found.trial(state="failed"), found.trial(state="failed", width=2)),
        tuple(replace(found.trial(speed_up=1.0 + n / 10), workers=1) for n in range(4)),
    ],
    ids=["a usual one", "only the default", "all failed", "one worker"],
)
def test_a_search_is_drawn_at_1200_by_900_pixels_however_little_it_found(tmp_path, trials):
    path = tmp_path / "calibration.png"
    calibration_picture.draw(found.tuning(trials=trials), path)
    assert struct.unpack(">II", path.read_bytes()[16:24]) == (1200, 900)
    assert path.stat().st_size > 10_000


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd_tunings())
def test_nothing_odd_in_a_tuning_keeps_it_from_being_drawn(tmp_path, tuning):
    calibration_picture.draw(tuning, tmp_path / "odd.png")


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: run_pictures.draw_schedule([], cores=2, title="nothing ran", path=path),
        lambda path: calibration_picture.draw(found.tuning(trials=(), pairs=(), importances={}), path),
    ],
)
def test_what_is_wrong_with_the_file_is_said(tmp_path, draw):
    with pytest.raises(InputError, match=r"picture\.xyz cannot be drawn: .*xyz"):
        draw(tmp_path / "picture.xyz")
    with pytest.raises(ResourceError, match=r"cannot be written: No such file or directory"):
        draw(tmp_path / "missing" / "picture.png")
