"""What is asked of programs before anything is computed: of which components, and what is done with the answers."""

from __future__ import annotations

import pytest

import autotune
from autotune.base.errors import InputError
from autotune.base.options import Options
from autotune.expansion import workload
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields
from autotune.workers.preflight import check, representatives

CHLORINES = "4\n\nCl 0 0 0\nCl 3.8 0 0\nHe 0 9 0\nHe 0 0 9"


def radicals(text=CHLORINES, **expansion):
    """Return the input of two chlorine atoms and two helium atoms, for the program that computes nothing."""
    given = {"program": "faulty", "method": "nothing", "charges": "0,0,0,0", "multiplicities": "2,2,1,1", **expansion}
    return many_body_fields(text, name="radicals", expansion=Expansion(**given))


def asked(fields):
    work = workload.load(fields)
    return sorted((len(task.real), len(task.basis)) for task in representatives(work.tasks, work.recipe))


def test_the_smallest_components_in_which_open_shells_meet_stand_for_all_of_their_kind():
    assert asked(radicals()) == [(2, 2)]
    three = radicals(CHLORINES.replace("He 0 9 0", "Cl 0 9 0"), multiplicities="2,2,2,1")
    assert [real for real, _ in asked(three)] == [2, 3]


@pytest.mark.parametrize(
    ("expansion", "components"),
    [
        ({"max_nbody": 3}, []),
        ({"bsse": ("cp",), "max_nbody": 2}, [(1, 4)]),
        ({"bsse": ("vmfc",), "max_nbody": 2}, [(1, 2)]),
    ],
)
def test_of_closed_shells_one_fragment_of_each_kind_is_asked_about_beside_ghosts_of_each_kind(
    cluster, expansion, components
):
    assert asked(cluster("water4", **expansion)) == components


def test_a_program_that_cannot_check_its_solutions_is_said_where_open_shells_meet():
    told = []
    with autotune.Session(Options(tuning="none", journal="none"), on_notice=told.append) as session:
        session.run(radicals())
        assert session.record.doubts == tuple(line for line in told if line.startswith("faulty does not check"))
    assert len(session.record.doubts) == 1


class Harness:
    """A harness that refuses ghosts and warns of pairs."""

    node_parallel, thread_parallel = False, False

    def get_version(self):
        return "1.0"

    def preflight(self, atomic_input):
        from qcengine.exceptions import InputError as Refusal

        if not atomic_input.molecule.real.all():
            raise Refusal("no ghosts here")

    def cautions(self, atomic_input):
        return (f"{len(atomic_input.molecule.symbols)} atoms",)


@pytest.fixture
def recipe(monkeypatch):
    import qcengine

    monkeypatch.setattr(qcengine, "get_program", lambda name: Harness())  # noqa: ARG005 - the harness is the program
    return workload.load(radicals(program="nwchem")).recipe


def test_a_refusal_is_one_line_that_names_its_component_and_equal_cautions_are_said_once(recipe):
    assert check(recipe, [("(auto)", (1,), (1, 2))]).problems == ("fragment 1 with ghosts: no ghosts here",)
    assert check(recipe, [("(auto)", (1, 2), (1, 2))]).cautions == ("1 atoms", "2 atoms")


def test_a_harness_that_mended_its_numbers_has_a_version_of_its_own(recipe, monkeypatch):
    assert check(recipe).versions == {"nwchem": "1.0"}
    monkeypatch.setattr(Harness, "revision", "r2", raising=False)
    assert check(recipe).versions == {"nwchem": "1.0+r2"}


def test_a_refusal_ends_the_run_before_anything_is_computed():
    with pytest.raises(InputError, match="method 'unheard-of' is not known"):
        autotune.run(radicals(method="unheard-of"), tuning="none", journal="none")
