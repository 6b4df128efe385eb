"""A policy and parameters in plain sentences: what a run will do, for people who compute molecules.

Rules: pure; a sentence only for what matters on this machine. A switch that cannot have an effect is not mentioned:
with one core a task there are no threads to wait, and a tail that may not be widened has no rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autotune.base.records import Trial
from autotune.base.text import count, join_words
from autotune.base.types import Machine, Parameter, Policy
from autotune.plugin.program_tuning import of_program
from autotune.programs.facts import facts_of

_ORDERS = {
    "longest": "Tasks that are predicted to take longest start first, so that none of them is left for the end.",
    "shortest": "Tasks that are predicted to take shortest start first.",
    "input": "Tasks start in the order of the input.",
}


def policy_words(policy: Policy, machine: Machine, *, budget_gib: float | None = None) -> list[str]:
    """Return what a policy does on a machine, one or two sentences for each decision.

    Args:
        policy: The policy.
        machine: The machine.
        budget_gib: What tasks may be granted together, where that was worked out already.
    """
    return [
        *_cores_words(policy, machine),
        *_order_words(policy),
        *_memory_words(policy, machine, budget_gib),
        _process_words(policy),
        *_thread_words(policy),
        *_change_words(policy, machine),
        *_program_words(policy),
    ]


def _program_words(policy: Policy) -> list[str]:
    """Return a sentence for each program that computes otherwise than it does by itself, with the same results."""
    programs = dict.fromkeys(name.partition(".")[0] for name, _ in policy.tunables)
    words = []
    for program in programs:
        untouched = {each.name: each.untouched for each in facts_of(program).tunables}
        values = of_program(policy.tunables, program)
        changed = [f"{name} = {value}" for name, value in values.items() if value != untouched.get(name)]
        if changed:
            words.append(f"To be faster, {program} computes with {join_words(changed)}; its results stay the same.")
    return words


def changes_words(parameters: Mapping[str, Parameter], defaults: Mapping[str, Parameter]) -> list[str]:
    """Return a phrase for each parameter that is not at its default, in order of the names.

    A parameter without a known default is given alone.
    """
    return [
        f"{name} = {value} (default {defaults[name]})" if name in defaults else f"{name} = {value}"
        for name, value in sorted(parameters.items())
        if name not in defaults or value != defaults[name]
    ]


def defaults_of(trials: Iterable[Trial]) -> Mapping[str, Parameter]:
    """Return the parameters of the trial that ran with the defaults; empty where there is none."""
    return next((trial.parameters for trial in trials if trial.source == "default"), {})


def _cores_words(policy: Policy, machine: Machine) -> list[str]:
    slots, together = max(policy.core_slots, policy.width), policy.at_once
    widest = min(policy.widest, machine.cores, slots)
    used, cores = together * policy.width, count(machine.cores, "core")
    free = count(machine.cores - used, "core")
    if used > machine.cores:
        load = f": {used} threads on {cores}, so that a core has work while a task waits."
    elif used == machine.cores:
        load = ", which fills the only core." if used == 1 else f", which fills all {cores}."
    elif widest > policy.width:
        load = f"; of {cores} that leaves {machine.cores - used} for tasks that get more."
    else:
        load = f"; {free} of {machine.cores} {'stays' if machine.cores - used == 1 else 'stay'} idle."
    tasks = "One task runs at a time" if together == 1 else f"Up to {count(together, 'task')} run at once"
    sentences = [f"{tasks}, with {count(policy.width, 'thread')}{'' if together == 1 else ' each'}{load}"]
    if 0 < slots - used < policy.width and policy.workers > together:
        sentences.append("A task may start with fewer threads where that many cores are left and it ends no later so.")
    if widest > policy.width:
        sentences.append(f"A task so long that the others would wait for it gets up to {widest} threads.")
        if policy.widen_tail:
            sentences.append("The last tasks share the cores that fall idle.")
    if policy.most_workers > policy.workers:
        sentences.append(
            f"Where tasks wait for a disk or for MPI and so leave cores idle, up to {policy.most_workers} may run."
        )
    return sentences


def _order_words(policy: Policy) -> list[str]:
    sentences = [_ORDERS.get(policy.order, f"Tasks start in the order {policy.order!r}.")]
    if policy.learn:
        sentences.append("Predicted times follow the measured times of the tasks that have finished.")
    if policy.level_barriers:
        sentences.append("An n-body level is finished before the next one starts, so cores idle at the end of each.")
    if policy.batch_s > 0.0:
        sentences.append(f"Short tasks go to a worker together, up to {1000 * policy.batch_s:.0f} ms of them.")
    return sentences


def _memory_words(policy: Policy, machine: Machine, budget_gib: float | None) -> list[str]:
    if budget_gib is None:
        share = f"{100 * policy.memory_fraction:.0f} % of the memory that is free here"
        amount = f"{share}, at most {policy.memory_fraction * machine.memory_gib:.1f} GiB"
    else:
        amount = f"{budget_gib:.1f} GiB of {machine.memory_gib:.1f} GiB"
    if policy.memory_admission:
        rule = "a task starts only when what it is predicted to need is left"
    else:
        rule = "a task starts whether or not its memory fits"
    sentences = [f"All tasks together are to take {amount} of memory; {rule}."]
    if policy.grant == "estimate":
        sentences.append(
            "Each program is told the memory that its fastest algorithm needs, where that is known and fits."
        )
    else:
        sentences.append("Each program is told an even share of that memory, whatever its task needs.")
    return sentences


def _process_words(policy: Policy) -> str:
    if policy.tasks_per_worker == 1:
        return "Each task gets a new process."
    limits: list[str] = []
    if policy.tasks_per_worker:
        limits.append(f"after {count(policy.tasks_per_worker, 'task')}")
    if policy.worker_growth_gib:
        limits.append(f"when it holds {policy.worker_growth_gib:g} GiB more than at first")
    if policy.worker_age_s:
        limits.append(f"when it is {policy.worker_age_s / 60:.0f} min old")
    replaced = f" A process is replaced {' or '.join(limits)}." if limits else ""
    return f"Programs stay loaded from one task to the next.{replaced}"


def _thread_words(policy: Policy) -> list[str]:
    sentences = []
    if max(policy.width, policy.widest) > 1:
        waiting = "sleep" if policy.passive_wait else "wait as the program likes, which may keep a core busy"
        sentences.append(f"Threads of a task that have nothing to do {waiting}.")
        if policy.one_blas_thread:
            sentences.append("A program that threads its own loops calls BLAS with one thread, so they do not compete.")
    if policy.blas_kernel:
        sentences.append(f"OpenBLAS is told to use its {policy.blas_kernel} kernels, because it would not by itself.")
    return sentences


def _change_words(policy: Policy, machine: Machine) -> list[str]:
    if not policy.follow_machine:
        return [f"Should cores or memory become fewer, it goes on as planned for {count(machine.cores, 'core')}."]
    return ["Should cores or memory become more or fewer, all of this is decided again."]
