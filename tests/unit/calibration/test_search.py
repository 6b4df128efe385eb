"""The search tries what it is told first, measures nothing twice, gives up what is slow, and survives being killed."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from types import SimpleNamespace

import optuna
import pytest
from pretended import CONTEXT, DEFAULT, Crew, instance

from autotune.base.errors import InputError, ResourceError, TaskError
from autotune.base.records import Trial
from autotune.calibration import search_database
from autotune.calibration.effects import LEAST_TRIALS
from autotune.calibration.search import CLEARLY_SLOWER, FRUITLESS, PATIENCE, REFERENCE_EVERY, Proposal, Search, space
from autotune.calibration.timing import Timed, TooSlowError
from autotune.plugin import composition

NOISE = 0.01
INSTANCES = (instance("small"), instance("large"))
BASE_S = {"small": 1.0, "large": 4.0}
ORDERS = {"input": 1.0, "longest": 0.9, "shortest": 1.05}
FASTEST = {"crew.workers": 8, "crew.order": "longest", "crew.colour": "red"}
FIRST = [Proposal(DEFAULT, "default")]


class Farm:
    """Pretends to run: more workers are faster, and the order matters a little.

    Args:
        slower: From an instance, a policy and the number of runs before to a further factor on the time; or raises.
    """

    def __init__(self, slower=lambda *_: 1.0):
        self._slower = slower
        self.runs = []

    def __call__(self, instance, plan, limit_s):
        self.runs.append((instance.name, plan, limit_s))
        factor = self._slower(instance, plan, len(self.runs) - 1)
        wall_s = BASE_S[instance.name] * factor * (4 / plan.workers) ** 0.5 * ORDERS[plan.order]
        if wall_s > limit_s:
            raise TooSlowError(f"more than {limit_s:.1f} s")
        return Timed(wall_s, 0.5, 10.0, [])


def policy_of(parameters, of):
    """Return the policy for an instance, whose number of tasks a strategy may look at."""
    return composition.compose([Crew()], parameters, replace(CONTEXT, tasks=len(of.tasks)))


def searched(run, *, study=None, say=lambda _: None, policy_of=policy_of, **options):
    return Search(
        study or optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1)),
        strategies=[Crew()],
        searched=[Crew()],
        context=CONTEXT,
        policy_of=policy_of,
        run=run,
        say=say,
        **{"instances": INSTANCES, "default_s": ((1.0,), (4.0,)), "noise": NOISE, **options},
    )


def tried(run, *proposals, most=None, **options):
    """Return a search after the default, these proposals and at most so many trials, by default no more than these."""
    search = searched(run, **options)
    search.run([*FIRST, *proposals], most=most or 1 + len(proposals), enough=lambda _: False)
    return search


def of(**changes):
    return {**DEFAULT, **{f"crew.{name}": value for name, value in changes.items()}}


def simulated(**changes):
    return Proposal(of(**changes), "simulated")


# --- what is tried ---------------------------------------------------------------------------------------------------


def test_proposals_are_tried_first_in_their_order_and_keep_their_source():
    proposals = [Proposal(of(workers=1), "transferred"), simulated(workers=8)]
    search = tried(Farm(), *proposals, most=6)
    assert [trial.source for trial in search.trials] == ["default", "transferred", "simulated", *3 * ["search"]]
    assert [trial.parameters for trial in search.trials[1:3]] == [proposal.parameters for proposal in proposals]


def test_the_fastest_of_the_space_is_found_and_the_best_are_the_fastest_that_ran_to_their_end():
    search = tried(Farm(), most=12)
    done = [trial for trial in search.trials if trial.state == "done"]
    assert search.best(3) == sorted(done, key=lambda trial: -trial.speed_up)[:3]
    best = search.best(1)[0]
    assert (best.parameters["crew.workers"], best.parameters["crew.order"]) == (8, "longest")
    assert best.speed_up == pytest.approx(2**0.5 / 0.9)


def test_trials_run_the_same_instances_cheapest_first_and_the_speed_up_is_the_geometric_mean_over_them():
    farm = Farm(lambda of_run, plan, _: 0.5 if of_run.name == "small" and plan.workers == 8 else 1.0)
    search = tried(farm, simulated(workers=8))
    assert [name for name, _, _ in farm.runs] == 2 * ["small", "large"]
    assert search.trials[1].speed_up == pytest.approx(math.sqrt(2 * 2**0.5 * 2**0.5))


def test_policies_that_are_equal_are_measured_once():
    farm, said = Farm(), []
    search = tried(farm, simulated(colour="green"), say=said.append)
    of_default = [plan for _, plan, _ in farm.runs if (plan.workers, plan.order) == (4, "input")]
    assert len(of_default) == len(INSTANCES)
    assert search.trials[1].source == "search"
    first, second, *_ = search._study.trials
    assert (first.value, second.value) == (pytest.approx(0.0), pytest.approx(0.0))
    assert second.user_attrs["measured"]["repeated"]
    assert len(said) == 2


def test_policies_that_differ_on_one_instance_only_are_measured_apart():
    def of_two_instances(parameters, of):
        plan = policy_of(parameters, of)
        return replace(plan, passive_wait=parameters["crew.colour"] == "red" or of.name == "small")

    farm = Farm()
    search = tried(farm, *2 * [simulated(colour="green")], most=2, policy_of=of_two_instances)
    assert [trial.parameters["crew.colour"] for trial in search.trials] == ["red", "green"]
    assert [(name, plan.passive_wait) for name, plan, _ in farm.runs] == [
        ("small", True),
        ("large", True),
        ("small", True),
        ("large", False),
    ]


def test_what_the_final_alone_ran_is_added_once_and_what_is_known_stays_as_it_is():
    search = tried(Farm())
    search.add(of(workers=8), speed_up=1.3)
    search.add(of(workers=8, colour="green"), speed_up=9.0)
    search.add(DEFAULT, speed_up=9.0)
    first, added = search.trials
    assert (first.source, first.speed_up) == ("default", pytest.approx(1.0))
    assert (added.parameters, added.source, added.state) == (of(workers=8), "final", "done")
    assert added.speed_up == pytest.approx(1.3)
    assert search.best(1) == [added]


def test_a_run_that_fails_is_told_as_failed_is_not_run_again_and_the_search_goes_on():
    def slower(_, plan, __):
        if plan.workers == 8:
            raise TaskError("label 0: did not converge")
        return 1.0

    farm, said = Farm(slower), []
    search = tried(farm, simulated(workers=8), simulated(workers=8, colour="green"), most=5, say=said.append)
    failed = search.trials[1]
    assert (failed.state, failed.speed_up, failed.wall_s) == ("failed", 0.0, ())
    assert [trial.state.name for trial in search._study.trials][:3] == ["COMPLETE", "FAIL", "FAIL"]
    assert [plan.order for _, plan, _ in farm.runs if plan.workers == 8].count("input") == 1
    assert len(search.trials) == 5
    assert "  failed: label 0: did not converge" in said
    assert failed not in search.best(9)


def test_what_cannot_be_used_at_all_ends_the_search():
    def refuse(*_):
        raise InputError("basis set 'x' is not known")

    with pytest.raises(InputError, match="'x' is not known"):
        tried(Farm(refuse))


# --- what is given up ------------------------------------------------------------------------------------------------


def test_what_is_clearly_slower_is_given_up_and_does_not_get_the_other_instances():
    farm = Farm()
    search = tried(farm, simulated(workers=2))
    assert [name for name, plan, _ in farm.runs if plan.workers == 2] == ["small"]
    assert (search.trials[1].state, len(search.trials[1].wall_s)) == ("pruned", 1)
    assert search._study.trials[1].state.name == "PRUNED"
    assert search.best(9) == [search.trials[0]]


def test_what_is_slower_within_the_noise_gets_all_instances():
    most = CLEARLY_SLOWER + 3 * NOISE

    def slower(_, plan, __):
        return math.exp(0.99 * most) / ORDERS["shortest"] if plan.order == "shortest" else 1.0

    search = tried(Farm(slower), simulated(order="shortest"))
    assert (search.trials[1].state, len(search.trials[1].wall_s)) == ("done", 2)


def test_a_run_may_take_so_many_times_what_the_best_would_and_is_given_up_beyond():
    farm = Farm(lambda _, plan, __: 9.0 if plan.order == "shortest" else 1.0)
    search = tried(farm, simulated(workers=8), simulated(order="shortest"))
    best = 2**0.5
    assert [limit for _, _, limit in farm.runs][-1] == pytest.approx(PATIENCE * 1.0 / best)
    assert search.trials[2].state == "pruned"
    assert search.trials[2].speed_up <= best / PATIENCE * 1.0001
    assert search._study.trials[2].state.name == "PRUNED"


def only_second(factor, *orders):
    """Return a farm on which orders change the time on the second instance only."""

    def slower(of_run, plan, _):
        return (factor if plan.order in orders and of_run.name == "large" else 1.0) / ORDERS[plan.order]

    return Farm(slower)


def test_what_the_best_gains_on_a_later_instance_only_is_not_held_against_a_trial_before_it_ran_that():
    farm = only_second(1 / 3, "longest", "shortest")
    search = tried(farm, simulated(order="longest"), simulated(order="shortest"))
    assert search.trials[1].speed_up == pytest.approx(math.sqrt(3))
    assert [trial.state for trial in search.trials] == ["done", "done", "done"]
    assert search.trials[2].speed_up == pytest.approx(math.sqrt(3))


def test_time_limits_are_held_against_the_best_trial_on_the_same_instance():
    farm = only_second(1 / 3, "longest")
    search = tried(farm, simulated(order="longest"), simulated(order="shortest"))
    limits = [(name, limit) for name, plan, limit in farm.runs if plan.order == "shortest"]
    assert limits == [("small", pytest.approx(PATIENCE * 1.0)), ("large", pytest.approx(PATIENCE * 4.0 / 3))]
    assert search.trials[2].state == "pruned"
    assert search._study.trials[2].state.name == "PRUNED"


def test_where_the_best_is_slower_than_the_default_on_an_instance_no_time_limit_grows():
    farm = Farm(lambda of_run, plan, _: (1.5 if of_run.name == "small" else 0.2) if plan.workers == 8 else 1.0)
    tried(farm, simulated(workers=8), simulated(workers=2))
    assert max(limit for name, _, limit in farm.runs if name == "small") <= PATIENCE * 1.0


# --- references ------------------------------------------------------------------------------------------------------


def test_the_default_is_run_again_every_few_trials_and_trials_are_held_against_what_it_takes_lately():
    farm = Farm(lambda *args: 2.0 if args[-1] >= len(INSTANCES) else 1.0)
    search = tried(farm, most=11)
    assert len(search.trials) == 11
    of_default = [plan for _, plan, _ in farm.runs if plan == farm.runs[0][1]]
    assert len(of_default) == len(INSTANCES) * (1 + 10 // REFERENCE_EVERY)
    assert search.default_s == pytest.approx([2.0, 8.0])
    last = search.trials[-1]
    assert last.wall_s[0] == pytest.approx(2.0 / last.speed_up)


def test_all_times_of_the_default_are_kept_by_instance():
    search = tried(Farm(), default_s=((1.1, 0.9), (4.0,)))
    assert search.references == [[1.1, 0.9, 1.0], [4.0, 4.0]]
    # After the default itself, so many trials.
    search = tried(Farm(), most=1 + REFERENCE_EVERY)
    assert search.references == [3 * [1.0], 3 * [4.0]]


@pytest.mark.parametrize("error", [TaskError("label 0: lost"), TooSlowError("more than 9 s")])
def test_a_run_of_the_default_that_fails_says_nothing_and_the_search_goes_on(error):
    def slower(of_run, plan, number):
        if number >= 2 and (plan.workers, plan.order) == (4, "input") and of_run.name == "small":
            raise error
        return 1.0

    trials = len(INSTANCES) * REFERENCE_EVERY
    search = tried(Farm(slower), most=trials)
    assert len(search.trials) == trials
    assert search.references[0] == [1.0, 1.0]
    assert len(search.references[1]) > 2


# --- when it ends ----------------------------------------------------------------------------------------------------


def test_the_search_ends_with_its_share_of_the_budget_but_not_before_one_trial():
    asked = []
    search = searched(Farm())
    search.run(FIRST, most=30, enough=lambda seconds: asked.append(seconds) or True)
    assert len(search.trials) == 1
    assert search.stopped == "its share of the budget was used"
    assert asked == [pytest.approx(1.3 * 5.0)]


OTHERS = [simulated(workers=n, order=order) for n in (1, 2, 4, 8) for order in ORDERS if (n, order) != (4, "input")]


@pytest.mark.parametrize(
    ("slower", "proposals", "options", "trials", "stopped"),
    [
        (lambda *_: 1.0, [], {"most": 3}, [3], "3 configurations were tried"),
        (  # ever better: the expected gain alone would never end it
            lambda *args: 0.9 ** args[-1],
            [],
            {"most": 1000, "instances": INSTANCES[:1], "default_s": ((1.0,),)},
            range(6, 13),
            "only configurations that were measured before came up",
        ),
        (
            lambda _, plan, __: (plan.workers / 4) ** 0.5 / ORDERS[plan.order],
            [],
            {"most": 40},
            [LEAST_TRIALS],
            "as many trials again would be expected to gain less than half the noise",
        ),
        (  # only the default is fast: how slow the others are says nothing of what is still to be gained
            lambda _, plan, __: 1.0 if (plan.workers, plan.order) == (4, "input") else 2.5,
            OTHERS[:FRUITLESS],
            {"most": 40},
            [1 + FRUITLESS],
            f"the last {FRUITLESS} trials gained less than half the noise",
        ),
    ],
    ids=["the most trials", "nothing new", "no gain expected", "no gain lately"],
)
def test_the_search_ends_when_nothing_more_is_to_be_expected(slower, proposals, options, trials, stopped):
    search = tried(Farm(slower), *proposals, **options)
    assert search.stopped == stopped
    assert len(search.trials) in trials


# --- what was found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "speed_up", "changes", "words"),
    [
        ("done", 1.0, {}, " 1.00× speed  the default"),
        ("done", 1.25, {"workers": 8, "order": "longest"}, " 1.25× speed  workers=8 order=longest"),
        ("pruned", 0.5, {"workers": 1}, "given up      workers=1"),
        ("failed", 0.0, {"workers": 1}, "failed        workers=1"),
    ],
)
def test_a_trial_in_a_few_words_names_what_was_changed_and_what_came_of_it(state, speed_up, changes, words):
    found = {"source": "search", "state": state, "workers": 1, "width": 1, "wall_s": (), "speed_up": speed_up}
    assert searched(Farm()).line(Trial(parameters=of(**changes), **found)) == words


def test_the_space_is_of_all_that_is_searched_by_full_name():
    assert {name: len(of.choices) for name, of in space([Crew()], CONTEXT).items()} == {
        "crew.workers": 4,
        "crew.order": 3,
        "crew.colour": 2,
    }


# --- the database ----------------------------------------------------------------------------------------------------

DATABASE = "searches/searches.sqlite3"


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("searches") / "empty.sqlite3"
    optuna.storages.RDBStorage(f"sqlite:///{path}")
    return path


@pytest.fixture
def opened(empty_database):
    """Return a function that opens a search in a database that has its tables, which take long to make."""
    search_database.database().parent.mkdir(parents=True)
    shutil.copy(empty_database, search_database.database())

    def open_search(method="hf", seed=1):
        return search_database.open_search({"method": method}, title="a title", seed=seed)

    return open_search


def killed(study, *, after):
    """Search until the process is killed in the middle of a run; return the runs there were."""

    class KilledError(BaseException):
        pass

    def die(*args):
        if args[-1] == after:
            raise KilledError
        return 1.0

    farm = Farm(die)
    search = searched(farm, study=study)
    proposals = [*FIRST, Proposal(of(workers=1), "transferred"), simulated(workers=8)]
    with pytest.raises(KilledError):
        search.run(proposals, most=4, enough=lambda _: False)
    return farm.runs, search.trials, proposals


@pytest.mark.parametrize("after", [0, 3, 4])
def test_a_killed_search_goes_on_with_what_it_was_at_and_runs_nothing_again_that_was_measured(opened, after):
    before, trials, proposals = killed(opened(), after=after)
    assert [trial.state.name for trial in opened().trials].count("RUNNING") == 1
    farm, study = Farm(), opened()
    search = searched(farm, study=study)
    assert search.trials == trials
    search.run(proposals, most=4, enough=lambda _: False)
    finished = {(trial.workers, trial.parameters["crew.order"]) for trial in trials}
    assert finished.isdisjoint((plan.workers, plan.order) for _, plan, _ in farm.runs)
    assert len(before) + len(farm.runs) <= 4 * len(INSTANCES) + 1
    found = [(trial.source, trial.parameters) for trial in search.trials]
    assert all((source, parameters) in found for parameters, source in proposals)
    assert len(found) == 4
    assert all(trial.state.is_finished() for trial in study.trials)


def test_a_proposal_that_was_interrupted_twice_is_not_tried_a_third_time(opened):
    killed(opened(), after=2)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            searched(Farm(lambda *_: 1 / 0), study=opened()).run([], most=4, enough=lambda _: False)
    searched(Farm(), study=opened())
    proposed = [trial.system_attrs["fixed_params"] for trial in opened().trials]
    # Interrupted while it was tried first, and again when it was tried once more.
    assert proposed.count(of(workers=1)) == 2
    assert not [trial for trial in opened().trials if trial.state.name == "RUNNING"]


def test_every_trial_is_in_the_database_as_soon_as_it_ended_for_whoever_reads_it_and_what_goes_on(opened):
    study, seen = opened(), []

    def look(_):
        storage = optuna.storages.RDBStorage(f"sqlite:///{search_database.database()}")
        seen.append(optuna.load_study(study_name=study.study_name, storage=storage).trials)

    search = tried(Farm(), simulated(workers=8), simulated(workers=2), study=study, say=look)
    assert [[trial.state.name for trial in trials if trial.state.is_finished()] for trials in seen] == [
        ["COMPLETE"],
        ["COMPLETE", "COMPLETE"],
        ["COMPLETE", "COMPLETE", "PRUNED"],
    ]
    kept = [trial.user_attrs["measured"] for trial in seen[-1]]
    for read, one, trial in zip(seen[-1], kept, search.trials, strict=True):
        assert read.params == trial.parameters
        assert read.values is None or read.value == pytest.approx(-math.log(trial.speed_up))
        assert one.keys() == {"wall_s", "logs", "state", "repeated"}
        assert (tuple(one["wall_s"]), one["state"], one["repeated"]) == (trial.wall_s, trial.state, False)
    assert kept[1]["logs"] == pytest.approx(2 * [math.log(2) / 2])
    assert kept[2]["logs"] == pytest.approx([-math.log(2) / 2])
    # A search that goes on holds its trials against these.
    tried(farm := Farm(), simulated(workers=8, order="shortest"), most=4, study=opened())
    assert farm.runs[0][2] == pytest.approx(PATIENCE * 1.0 / 2**0.5)


def test_a_search_of_the_same_question_is_taken_up_again_if_it_did_not_end_and_is_younger_than_a_day(
    opened, monkeypatch
):
    first = opened()
    first.set_user_attr("winner", {"a": 1})
    assert (opened().study_name, opened().user_attrs) == (first.study_name, {"winner": {"a": 1}})
    assert opened("mp2").study_name != first.study_name
    first.set_user_attr("ended", value=True)
    second, now_s = opened(), search_database.time.time()  # within the same second
    assert second.study_name != first.study_name
    assert second.user_attrs == {}
    for age, taken_up in ((0.0, True), (0.9, True), (1.1, False)):
        later = SimpleNamespace(time=lambda age=age: now_s + age * search_database.FRESH_S)
        monkeypatch.setattr(search_database, "time", later)
        assert (opened().study_name == second.study_name) is taken_up


def test_equal_seeds_propose_the_same(opened):
    once, again = (tried(Farm(), study=opened(name, seed=7), most=4).trials for name in ("one", "other"))
    assert once == again


@pytest.mark.parametrize(("place", "by_a_folder"), [("", False), (DATABASE, True), (DATABASE, False)])
def test_a_database_that_cannot_be_written_is_said_in_one_line(tmp_path, monkeypatch, place, by_a_folder):
    home = tmp_path / "blocked"
    monkeypatch.setenv("AUTOTUNE_HOME", str(home))
    blocked = home / place
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.mkdir() if by_a_folder else blocked.write_text("no database " * 100)
    with pytest.raises(ResourceError, match=r" cannot be written.*set AUTOTUNE_HOME$") as caught:
        search_database.open_search({}, title="a title", seed=1)
    assert str(home / "searches") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_one_calibration_runs_with_a_folder_at_a_time():
    with (
        search_database.alone(),
        pytest.raises(ResourceError, match=r"another calibration is running with .*; wait until"),
    ):
        search_database.alone().__enter__()
    with search_database.alone():
        pass


def test_a_database_that_becomes_unwritable_in_the_middle_is_said_in_one_line(opened):
    study = opened()

    def vanish(*args):
        if args[-1] == 2:
            search_database.database().unlink()
            search_database.database().mkdir()
        return 1.0

    study._storage.remove_session()
    study._storage._backend.engine.dispose()
    with pytest.raises(ResourceError, match=r"^the search in .* cannot be written \(.*AUTOTUNE_HOME$"):  # noqa: SIM117
        with search_database.storage_errors():
            tried(Farm(vanish), study=study, most=12)
