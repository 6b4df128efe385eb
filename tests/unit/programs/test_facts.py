"""Claims about the facts that plugins state of programs."""

from __future__ import annotations

import pytest

from autotune.base.errors import InputError
from autotune.plugin.facts import FOR_EACH_TASK, ProgramFacts
from autotune.plugin.hookspecs import hookimpl
from autotune.plugin.manager import DISABLED_VARIABLE, Manager
from autotune.programs.facts import facts_of, known_facts


class States:
    """A plugin that states facts."""

    def __init__(self, *facts):
        self.facts = facts

    @hookimpl
    def autotune_program_facts(self):
        return self.facts


def test_a_program_is_kept_in_its_worker_or_beside_it_or_is_a_new_process_for_each_task():
    assert facts_of("PySCF").stays == "stays loaded in its worker"
    assert facts_of("psi4").stays == "stays loaded beside its worker"
    assert facts_of("nwchem").stays == "a new process for each task"


def test_of_a_program_that_nobody_knows_nothing_special_is_assumed():
    assert facts_of("Nobody") == ProgramFacts(name="nobody")
    assert facts_of("nobody").stays == FOR_EACH_TASK


def test_only_a_program_that_is_a_new_process_takes_time_from_each_task_to_start():
    assert facts_of("tblite").start_of_task_s == facts_of("psi4").start_of_task_s == 0.0
    assert 0.0 < facts_of("mopac").start_of_task_s < facts_of("nwchem").start_of_task_s
    assert facts_of("nwchem").start_of_task_s < facts_of("orca").start_of_task_s == facts_of("nobody").start_of_task_s


def test_two_plugins_that_state_facts_of_one_program_are_refused():
    manager = Manager([States(ProgramFacts(name="mine")), States(ProgramFacts(name="mine", ghosts=False))])
    with pytest.raises(InputError, match=r"^two plugins state facts about the program 'mine'; uninstall one"):
        manager.program_facts  # noqa: B018


def test_who_leaves_out_a_plugin_leaves_out_what_it_states(monkeypatch):
    assert not facts_of("mopac").ghosts
    monkeypatch.setenv(DISABLED_VARIABLE, "mopac")
    assert "mopac" not in known_facts()
    assert facts_of("mopac").ghosts
