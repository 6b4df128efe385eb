"""The search tries what it is told first, measures nothing twice, gives up what is slow, and survives being killed."""

from __future__ import annotations

import math
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


def in_memory(seed=1):
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))


def policy_of(parameters, of):
    """Return the policy for an instance, whose number of tasks a strategy may look at."""
    return composition.compose([Crew()], parameters, replace(CONTEXT, tasks=len(of.tasks)))


def searched(
    run,
    *,
    study=None,
    instances=INSTANCES,
    default_s=((1.0,), (4.0,)),
    say=lambda _: None,
    noise=NOISE,
    policy_of=policy_of,
):
    return Search(
        study or in_memory(),
        strategies=[Crew()],
        searched=[Crew()],
        context=CONTEXT,
        policy_of=policy_of,
        instances=instances,
        default_s=default_s,
        noise=noise,
        run=run,
        say=say,
    )


def tried(run, proposals=FIRST, *, most=12, **options):
    """Return a search after at most so many trials."""
    search = searched(run, **options)
    search.run(proposals, most=most, enough=lambda _: False)
    return search


def of(**changes):
    return {**DEFAULT, **{f"crew.{name}": value for name, value in changes.items()}}


def made(speed_ups):
    """Return a search that had trials of these speed-ups."""
    search = searched(Farm())
    search.trials = [
        Trial(parameters=DEFAULT, source="search", state="done", workers=1, width=1, wall_s=(1.0,), speed_up=speed_up)
        for speed_up in speed_ups
    ]
    return search


# --- what is tried ---------------------------------------------------------------------------------------------------


def test_proposals_are_tried_first_in_their_order_and_keep_their_source():
    proposals = [*FIRST, Proposal(of(workers=1), "transferred"), Proposal(of(workers=8), "simulated")]
    search = tried(Farm(), proposals, most=6)
    assert [trial.source for trial in search.trials] == ["default", "transferred", "simulated", *3 * ["search"]]
    assert [trial.parameters for trial in search.trials[:3]] == [proposal.parameters for proposal in proposals]


def test_every_trial_runs_the_same_instances_cheapest_first():
    farm = Farm()
    tried(farm, most=1)
    assert [name for name, _, _ in farm.runs] == ["small", "large"]


def test_the_fastest_of_the_space_is_found():
    search = tried(Farm(), most=12)
    best = search.best(1)[0]
    assert (best.parameters["crew.workers"], best.parameters["crew.order"]) == (8, "longest")
    assert best.speed_up == pytest.approx(2**0.5 / 0.9)


def test_the_speed_up_is_the_geometric_mean_over_instances():
    def slower(instance, plan, _):
        return 0.5 if instance.name == "small" and plan.workers == 8 else 1.0

    search = tried(Farm(slower), [*FIRST, Proposal(of(workers=8), "simulated")], most=2)
    assert search.trials[1].speed_up == pytest.approx(math.sqrt(2 * 2**0.5 * 2**0.5))


def test_policies_that_are_equal_are_measured_once():
    farm, said = Farm(), []
    search = tried(farm, [*FIRST, Proposal(of(colour="green"), "transferred")], most=2, say=said.append)
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
    proposals = [*FIRST, Proposal(of(colour="green"), "transferred"), Proposal(of(colour="green"), "simulated")]
    search = tried(farm, proposals, most=2, policy_of=of_two_instances)
    assert [trial.parameters["crew.colour"] for trial in search.trials] == ["red", "green"]
    assert [(name, plan.passive_wait) for name, plan, _ in farm.runs] == [
        ("small", True),
        ("large", True),
        ("small", True),
        ("large", False),
    ]


def test_what_the_final_alone_ran_is_added_once_and_what_is_known_stays_as_it_is():
    search = tried(Farm(), most=1)
    search.add(of(workers=8), speed_up=1.3)
    search.add(of(workers=8, colour="green"), speed_up=9.0)
    search.add(DEFAULT, speed_up=9.0)
    first, added = search.trials
    assert (first.source, first.speed_up) == ("default", pytest.approx(1.0))
    assert (added.parameters, added.source, added.state) == (of(workers=8), "final", "done")
    assert added.speed_up == pytest.approx(1.3)
    assert search.best(1) == [added]


def test_a_run_that_fails_is_told_as_failed_and_the_search_goes_on():
    def slower(_, plan, __):
        if plan.workers == 8:
            raise TaskError("label 0: did not converge")
        return 1.0

    said = []
    search = tried(Farm(slower), [*FIRST, Proposal(of(workers=8), "simulated")], most=5, say=said.append)
    failed = search.trials[1]
    assert (failed.state, failed.speed_up, failed.wall_s) == ("failed", 0.0, ())
    assert search._study.trials[1].state.name == "FAIL"
    assert len(search.trials) == 5
    assert "  failed: label 0: did not converge" in said
    assert failed not in search.best(9)


def test_a_repetition_of_what_failed_is_told_as_failed_and_not_run_again():
    def slower(_, plan, __):
        if plan.workers == 8:
            raise TaskError("label 0: lost")
        return 1.0

    farm = Farm(slower)
    proposals = [Proposal(of(workers=8, colour=colour), "simulated") for colour in ("red", "green")]
    search = tried(farm, [*proposals, *FIRST], most=2)
    assert [trial.state.name for trial in search._study.trials] == ["FAIL", "FAIL", "COMPLETE"]
    assert [trial.state for trial in search.trials] == ["failed", "done"]
    assert [plan.workers for _, plan, _ in farm.runs] == [8, 4, 4]


def test_what_cannot_be_used_at_all_ends_the_search():
    def refuse(*_):
        raise InputError("basis set 'x' is not known")

    with pytest.raises(InputError, match="'x' is not known"):
        tried(Farm(refuse))


# --- what is given up ------------------------------------------------------------------------------------------------


def test_what_is_clearly_slower_is_given_up_and_does_not_get_the_other_instances():
    farm = Farm()
    search = tried(farm, [*FIRST, Proposal(of(workers=2), "simulated")], most=2)
    assert [name for name, plan, _ in farm.runs if plan.workers == 2] == ["small"]
    assert (search.trials[1].state, len(search.trials[1].wall_s)) == ("pruned", 1)
    assert search._study.trials[1].state.name == "PRUNED"
    assert search.best(9) == [search.trials[0]]


def test_what_is_slower_within_the_noise_gets_all_instances():
    most = CLEARLY_SLOWER + 3 * NOISE

    def slower(_, plan, __):
        return math.exp(0.99 * most) / ORDERS["shortest"] if plan.order == "shortest" else 1.0

    search = tried(Farm(slower), [*FIRST, Proposal(of(order="shortest"), "simulated")], most=2)
    assert (search.trials[1].state, len(search.trials[1].wall_s)) == ("done", 2)


def test_a_run_may_take_so_many_times_what_the_best_would_and_is_given_up_beyond():
    farm = Farm(lambda _, plan, __: 9.0 if plan.order == "shortest" else 1.0)
    proposals = [*FIRST, Proposal(of(workers=8), "simulated"), Proposal(of(order="shortest"), "simulated")]
    search = tried(farm, proposals, most=3)
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
    proposals = [*FIRST, *(Proposal(of(order=order), "simulated") for order in ("longest", "shortest"))]
    search = tried(farm, proposals, most=3)
    assert search.trials[1].speed_up == pytest.approx(math.sqrt(3))
    assert [trial.state for trial in search.trials] == ["done", "done", "done"]
    assert search.trials[2].speed_up == pytest.approx(math.sqrt(3))


def test_time_limits_are_held_against_the_best_trial_on_the_same_instance():
    farm = only_second(1 / 3, "longest")
    proposals = [*FIRST, Proposal(of(order="longest"), "simulated"), Proposal(of(order="shortest"), "simulated")]
    search = tried(farm, proposals, most=3)
    limits = [(name, limit) for name, plan, limit in farm.runs if plan.order == "shortest"]
    assert limits == [("small", pytest.approx(PATIENCE * 1.0)), ("large", pytest.approx(PATIENCE * 4.0 / 3))]
    assert search.trials[2].state == "pruned"
    assert search._study.trials[2].state.name == "PRUNED"


def test_where_the_best_is_slower_than_the_default_on_an_instance_no_time_limit_grows():
    farm = Farm(lambda of_run, plan, _: (1.5 if of_run.name == "small" else 0.2) if plan.workers == 8 else 1.0)
    tried(farm, [*FIRST, Proposal(of(workers=8), "simulated"), Proposal(of(workers=2), "simulated")], most=3)
    assert max(limit for name, _, limit in farm.runs if name == "small") <= PATIENCE * 1.0


# --- references ------------------------------------------------------------------------------------------------------


def test_the_default_is_run_again_every_few_trials():
    farm = Farm()
    search = tried(farm, most=11)
    assert len(search.trials) == 11
    default = farm.runs[0][1]
    of_default = [number for number, (_, plan, _) in enumerate(farm.runs) if plan == default]
    assert len(of_default) == len(INSTANCES) * (1 + 10 // REFERENCE_EVERY)


def test_trials_are_held_against_what_the_default_takes_lately():
    search = tried(Farm(lambda *args: 2.0 if args[-1] >= len(INSTANCES) else 1.0), most=11)
    assert search.default_s == pytest.approx([2.0, 8.0])
    last = search.trials[-1]
    assert last.wall_s[0] == pytest.approx(2.0 / last.speed_up)


def test_all_times_of_the_default_are_kept_by_instance():
    search = tried(Farm(), most=1, default_s=((1.1, 0.9), (4.0,)))
    assert search.references == [[1.1, 0.9, 1.0], [4.0, 4.0]]
    # After the default itself, so many trials.
    search = tried(Farm(), most=1 + REFERENCE_EVERY)
    assert search.references == [3 * [1.0], 3 * [4.0]]


@pytest.mark.parametrize("error", [TaskError("label 0: lost"), TooSlowError("more than 9 s")])
def test_a_run_of_the_default_that_fails_says_nothing_and_the_search_goes_on(error):
    trials = len(INSTANCES) * REFERENCE_EVERY

    def slower(of_run, plan, number):
        if number >= 2 and (plan.workers, plan.order) == (4, "input") and of_run.name == "small":
            raise error
        return 1.0

    search = tried(Farm(slower), most=trials)
    assert len(search.trials) == trials
    assert search.references[0] == [1.0, 1.0]
    assert len(search.references[1]) > 2


# --- when it ends ----------------------------------------------------------------------------------------------------


def test_the_search_ends_after_the_most_trials():
    search = tried(Farm(), most=3)
    assert len(search.trials) == 3
    assert search.stopped == "3 configurations were tried"


def test_the_search_ends_with_its_share_of_the_budget_but_not_before_one_trial():
    asked = []
    search = searched(Farm())
    search.run(FIRST, most=30, enough=lambda seconds: asked.append(seconds) or True)
    assert len(search.trials) == 1
    assert search.stopped == "its share of the budget was used"
    assert asked == [pytest.approx(1.3 * 5.0)]


def test_the_search_ends_when_only_what_was_measured_before_comes_up():
    # Trials ever better: the expected gain alone would never end it.
    search = tried(Farm(lambda *args: 0.9 ** args[-1]), most=1000, instances=INSTANCES[:1], default_s=((1.0,),))
    assert search.stopped == "only configurations that were measured before came up"
    assert 6 <= len(search.trials) <= 12


def test_the_search_ends_when_as_many_trials_again_would_gain_less_than_the_noise():
    search = tried(Farm(lambda _, plan, __: (plan.workers / 4) ** 0.5 / ORDERS[plan.order]), most=40)
    assert search.stopped == "as many trials again would be expected to gain less than half the noise"
    assert len(search.trials) == LEAST_TRIALS


def test_a_search_ends_when_the_last_trials_gained_nothing_however_bad_they_were():
    # Only the default is fast: how slow the others are says nothing of what is still to be gained.
    others = [of(workers=workers, order=order) for workers in (1, 2, 4, 8) for order in ORDERS]
    others.remove(of())
    proposals = [*FIRST, *(Proposal(parameters, "simulated") for parameters in others[:FRUITLESS])]
    farm = Farm(lambda _, plan, __: 1.0 if (plan.workers, plan.order) == (4, "input") else 2.5)
    search = tried(farm, proposals, most=40)
    assert search.stopped == f"the last {FRUITLESS} trials gained less than half the noise"
    assert len(search.trials) == 1 + FRUITLESS


# --- what was found --------------------------------------------------------------------------------------------------


def test_the_best_are_the_fastest_that_ran_to_their_end_fastest_first():
    search = tried(Farm(), most=12)
    done = [trial for trial in search.trials if trial.state == "done"]
    assert search.best(3) == sorted(done, key=lambda trial: -trial.speed_up)[:3]


def test_a_trial_in_a_few_words_names_what_was_changed_and_what_came_of_it():
    search = searched(Farm())

    def words(state, speed_up, **changes):
        return search.line(
            Trial(
                parameters=of(**changes),
                source="search",
                state=state,
                workers=1,
                width=1,
                wall_s=(),
                speed_up=speed_up,
            )
        )

    assert words("done", 1.0) == " 1.00× speed  the default"
    assert words("done", 1.25, workers=8, order="longest") == " 1.25× speed  workers=8 order=longest"
    assert words("pruned", 0.5, workers=1) == "given up      workers=1"
    assert words("failed", 0.0, workers=1) == "failed        workers=1"


def test_the_space_is_of_all_that_is_searched_by_full_name():
    assert {name: len(of.choices) for name, of in space([Crew()], CONTEXT).items()} == {
        "crew.workers": 4,
        "crew.order": 3,
        "crew.colour": 2,
    }


# --- the database ----------------------------------------------------------------------------------------------------

QUESTION = {"method": "hf"}


def opened(question=QUESTION, seed=1):
    return search_database.open_search(question, title="a title", seed=seed)


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
    proposals = [*FIRST, Proposal(of(workers=1), "transferred"), Proposal(of(workers=8), "simulated")]
    with pytest.raises(KilledError):
        search.run(proposals, most=4, enough=lambda _: False)
    return farm.runs, search.trials, proposals


@pytest.mark.parametrize("after", [0, 3, 4])
def test_a_killed_search_goes_on_with_what_it_was_at_and_runs_nothing_again_that_was_measured(after):
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


def test_a_proposal_that_was_interrupted_twice_is_not_tried_a_third_time():
    study = opened()
    killed(study, after=2)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            searched(Farm(lambda *_: 1 / 0), study=opened()).run([], most=4, enough=lambda _: False)
    searched(Farm(), study=opened())
    proposed = [trial.system_attrs["fixed_params"] for trial in opened().trials]
    # Interrupted while it was tried first, and again when it was tried once more.
    assert proposed.count(of(workers=1)) == 2
    assert not [trial for trial in opened().trials if trial.state.name == "RUNNING"]


def test_what_was_measured_is_kept_with_its_speed_ups_and_whether_it_was_a_repetition():
    study = opened()
    tried(
        Farm(),
        [*FIRST, Proposal(of(workers=8), "simulated"), Proposal(of(workers=2), "simulated")],
        most=3,
        study=study,
    )
    kept = [trial.user_attrs["measured"] for trial in study.trials]
    assert [one.keys() for one in kept] == 3 * [{"wall_s", "logs", "state", "repeated"}]
    assert [one["state"] for one in kept] == ["done", "done", "pruned"]
    assert kept[1]["logs"] == pytest.approx(2 * [math.log(2) / 2])
    assert kept[2]["logs"] == pytest.approx([-math.log(2) / 2])
    assert not any(one["repeated"] for one in kept)


def test_what_a_search_that_goes_on_holds_its_trials_against_is_what_was_measured_before():
    study = opened()
    tried(Farm(), [*FIRST, Proposal(of(workers=8), "simulated")], most=2, study=study)
    farm = Farm()
    tried(farm, [Proposal(of(workers=8, order="shortest"), "simulated")], most=3, study=opened())
    assert farm.runs[0][2] == pytest.approx(PATIENCE * 1.0 / 2**0.5)


def test_every_trial_is_in_the_database_as_soon_as_it_ended_for_whoever_reads_it_with_optuna():
    study, seen = opened(), []

    def look(_):
        storage = optuna.storages.RDBStorage(f"sqlite:///{search_database.database()}")
        read = optuna.load_study(study_name=study.study_name, storage=storage).trials
        seen.append([trial for trial in read if not trial.user_attrs["measured"]["repeated"]])

    search = tried(Farm(), study=study, most=3, say=look)
    assert [len(trials) for trials in seen] == [1, 2, 3]
    for read, trial in zip(seen[-1], search.trials, strict=True):
        assert read.params == trial.parameters
        assert tuple(read.user_attrs["measured"]["wall_s"]) == trial.wall_s
        assert read.user_attrs["measured"]["state"] == trial.state
        assert read.values is None or read.value == pytest.approx(-math.log(trial.speed_up))


def test_a_search_of_the_same_question_that_did_not_end_is_taken_up_again():
    first = opened()
    first.set_user_attr("winner", {"a": 1})
    assert opened().study_name == first.study_name
    assert opened().user_attrs == {"winner": {"a": 1}}


def test_a_search_that_ended_is_not_taken_up_again_even_within_the_same_second():
    first = opened()
    first.set_user_attr("ended", value=True)
    second = opened()
    assert second.study_name != first.study_name
    assert second.user_attrs == {}
    assert opened().study_name == second.study_name


def test_another_question_is_another_search():
    assert opened().study_name != opened({"method": "mp2"}).study_name


def test_a_search_that_is_older_than_a_day_is_not_taken_up_again(monkeypatch):
    first, now_s = opened(), search_database.time.time()
    monkeypatch.setattr(search_database, "time", SimpleNamespace(time=lambda: now_s + 0.9 * search_database.FRESH_S))
    assert opened().study_name == first.study_name
    monkeypatch.setattr(search_database, "time", SimpleNamespace(time=lambda: now_s + 1.1 * search_database.FRESH_S))
    assert opened().study_name != first.study_name


def test_equal_seeds_propose_the_same():
    once, again = (tried(Farm(), [], study=opened({"number": number}, seed=7), most=3).trials for number in range(2))
    assert once == again


def blocked_by_a_file(home):
    home.write_text("no folder")


def blocked_by_a_folder(home):
    (home / "searches" / "searches.sqlite3").mkdir(parents=True)


def blocked_by_rubbish(home):
    (home / "searches").mkdir(parents=True)
    (home / "searches" / "searches.sqlite3").write_text("no database " * 100)


@pytest.mark.parametrize("block", [blocked_by_a_file, blocked_by_a_folder, blocked_by_rubbish])
def test_a_database_that_cannot_be_written_is_said_in_one_line(tmp_path, monkeypatch, block):
    home = tmp_path / "blocked"
    monkeypatch.setenv("AUTOTUNE_HOME", str(home))
    block(home)
    with pytest.raises(ResourceError) as caught:
        opened()
    assert str(home / "searches") in str(caught.value)
    assert " cannot be written" in str(caught.value)
    assert str(caught.value).endswith("set AUTOTUNE_HOME")
    assert "\n" not in str(caught.value)


def test_only_one_calibration_runs_with_a_folder_at_a_time():
    with (
        search_database.alone(),
        pytest.raises(ResourceError, match=r"another calibration is running with .*; wait until"),
    ):
        search_database.alone().__enter__()
    with search_database.alone():
        pass


def test_a_database_that_becomes_unwritable_in_the_middle_is_said_in_one_line():
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
            tried(Farm(vanish), study=study)
