"""The search tries what it is told first, measures nothing twice, gives up what is slow, and survives being killed."""

from __future__ import annotations

import itertools
import math
import random
import statistics
import sys
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune import searches
from autotune.errors import InputError, ResourceError, TaskError
from autotune.records import Trial
from autotune.search import CLEARLY_SLOWER, LEAST_TRIALS, PATIENCE, REFERENCE_EVERY, Proposal, Search, space
from autotune.timing import Timed, TooSlowError

sys.path.insert(0, str(Path(__file__).parent))
from pretended import CONTEXT, DEFAULT, Crew, instance

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
        factor = self._slower(instance, plan, len(self.runs))
        self.runs.append((instance.name, plan, limit_s))
        wall_s = BASE_S[instance.name] * factor * (4 / plan.workers) ** 0.5 * ORDERS[plan.order]
        if wall_s > limit_s:
            raise TooSlowError(f"more than {limit_s:.1f} s")
        return Timed(wall_s, 0.5, 10.0, [])


def in_memory(seed=1):
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))


def searched(run, *, study=None, instances=INSTANCES, default_s=((1.0,), (4.0,)), say=lambda _: None, noise=NOISE):
    return Search(
        study or in_memory(),
        strategies=[Crew()],
        searched=[Crew()],
        context=CONTEXT,
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
    assert second.user_attrs["repeated"]
    assert len(said) == 2


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


def test_a_repetition_of_what_failed_is_not_run_again():
    def slower(_, plan, __):
        if plan.workers == 8:
            raise TaskError("lost")
        return 1.0

    farm = Farm(slower)
    proposals = [*FIRST, *(Proposal(of(workers=8, colour=colour), "simulated") for colour in ("red", "green"))]
    search = tried(farm, proposals, most=3)
    assert [trial.state.name for trial in search._study.trials[:3]] == ["COMPLETE", "FAIL", "FAIL"]
    assert [trial.state for trial in search.trials].count("failed") == len(
        {trial.parameters["crew.order"] for trial in search.trials if trial.parameters["crew.workers"] == 8}
    )


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


# --- references ------------------------------------------------------------------------------------------------------


def test_the_default_is_run_again_every_few_trials():
    farm = Farm()
    search = tried(farm, most=11)
    assert len(search.trials) == 11
    default = farm.runs[0][1]
    of_default = [number for number, (_, plan, _) in enumerate(farm.runs) if plan == default]
    assert len(of_default) == len(INSTANCES) * (1 + 10 // REFERENCE_EVERY)


def test_trials_are_held_against_what_the_default_takes_lately():
    farm = Farm(lambda *args: 2.0 if args[-1] > 14 else 1.0)
    search = tried(farm, most=12)
    assert search.default_s == pytest.approx([2.0, 8.0])
    last = search.trials[-1]
    assert last.wall_s[0] == pytest.approx(2.0 / last.speed_up)


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
    assert search.stopped == "trying as many again would gain less than the noise"
    assert len(search.trials) == LEAST_TRIALS


speed_ups = st.lists(st.floats(0.1, 10.0), min_size=2, max_size=7)


@given(speed_ups)
def test_the_expected_gain_is_that_of_the_second_half_over_the_first_in_all_orders(found):
    logs = [-math.log(speed_up) for speed_up in found]
    halves = list(itertools.combinations(logs, len(logs) // 2))
    gained = statistics.fmean(min(half) - min(logs) for half in halves)
    assert made(found).expected_gain() == pytest.approx(gained, abs=1e-12)


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=60), st.integers(0, 3))
def test_the_expected_gain_is_never_negative_whatever_failed(found, failed):
    assert made([*found, *failed * [0.0]]).expected_gain() >= 0.0


def test_with_less_than_two_trials_that_ran_anything_may_be_expected():
    assert made([]).expected_gain() == made([1.0]).expected_gain() == made([2.0, 0.0]).expected_gain() == math.inf


def test_the_expected_gain_of_thousands_of_trials_can_be_told():
    draw = random.Random(1)
    assert 0.0 < made([draw.lognormvariate(0.0, 0.1) for _ in range(3000)]).expected_gain() < 0.1


# --- what was found --------------------------------------------------------------------------------------------------


def test_the_best_are_the_fastest_that_ran_to_their_end_fastest_first():
    search = tried(Farm(), most=12)
    done = [trial for trial in search.trials if trial.state == "done"]
    assert search.best(3) == sorted(done, key=lambda trial: -trial.speed_up)[:3]


def test_parameters_without_an_effect_of_their_own_go_back_to_the_default():
    # Noise of a per cent must not make the order or the colour look worth a change.
    draw = random.Random(3)
    farm = Farm(lambda _, plan, __: draw.lognormvariate(0.0, NOISE / 10) / ORDERS[plan.order])
    search = tried(farm, [*FIRST, Proposal(of(workers=8, order="shortest"), "simulated")], most=10)
    assert search.parsimonious(of(workers=8, order="shortest", colour="green")) == of(workers=8)


def test_parameters_that_never_differed_from_the_default_go_back_to_it():
    search = tried(Farm(), most=1)
    assert search.parsimonious(FASTEST) == DEFAULT


def test_importances_are_shares_and_name_what_matters():
    search = tried(Farm(), most=12)
    found = search.importances()
    if sum(trial.state == "done" for trial in search.trials) >= LEAST_TRIALS:
        assert sum(found.values()) == pytest.approx(1.0, abs=0.01)
        assert max(found, key=found.get) == "crew.workers"


def test_too_few_trials_have_no_importances():
    assert tried(Farm(), most=LEAST_TRIALS - 1).importances() == {}


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
    return searches.opened(question, title="a title", seed=seed)


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
        search.run(proposals, most=8, enough=lambda _: False)
    return farm.runs, search.trials, proposals


@pytest.mark.parametrize("after", [0, 1, 4, 8])
def test_a_killed_search_goes_on_without_running_again_what_was_measured(after):
    before, trials, proposals = killed(opened(), after=after)
    assert [trial.state.name for trial in opened().trials].count("RUNNING") == 1
    farm = Farm()
    search = searched(farm, study=opened())
    assert search.trials == trials
    search.run(proposals, most=8, enough=lambda _: False)
    finished = {(trial.workers, trial.parameters["crew.order"]) for trial in trials}
    again = {(plan.workers, plan.order) for _, plan, _ in farm.runs} & finished
    assert again <= {(4, "input")}, "only the reference may run again"
    assert len(before) + len(farm.runs) <= 8 * len(INSTANCES) + 2 * len(INSTANCES)
    assert [trial.state.name for trial in opened().trials].count("RUNNING") == 0
    assert len(search.trials) == 8


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_proposal_in_the_middle_of_which_a_search_was_killed_is_tried_after_all(after):
    *_, proposals = killed(opened(), after=after)
    search = tried(Farm(), proposals, study=opened(), most=8)
    sources = [(trial.source, trial.parameters) for trial in search.trials]
    assert all((source, parameters) in sources for parameters, source in proposals)


def test_every_trial_is_in_the_database_as_soon_as_it_ended_for_whoever_reads_it_with_optuna():
    study, seen = opened(), []

    def look(_):
        storage = optuna.storages.RDBStorage(f"sqlite:///{searches.database()}")
        seen.append([t for t in optuna.load_study(study_name=study.study_name, storage=storage).trials if t.params])

    search = tried(Farm(), study=study, most=4, say=look)
    assert [len(trials) for trials in seen] == [1, 2, 3, 4]
    for read, trial in zip(seen[-1], search.trials, strict=True):
        assert read.params == trial.parameters
        assert tuple(read.user_attrs["wall_s"]) == trial.wall_s
        assert read.user_attrs["state"] == trial.state
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
    first, now_s = opened(), searches.time.time()
    monkeypatch.setattr(searches, "time", SimpleNamespace(time=lambda: now_s + 0.9 * searches.FRESH_S))
    assert opened().study_name == first.study_name
    monkeypatch.setattr(searches, "time", SimpleNamespace(time=lambda: now_s + 1.1 * searches.FRESH_S))
    assert opened().study_name != first.study_name


def test_equal_seeds_propose_the_same():
    once = [tried(Farm(), study=opened({"time": time}, seed=7), most=6).trials for time in range(2)]
    assert once[0] == once[1]


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
    assert str(caught.value).startswith(f"the search in {home / 'searches'} cannot be written (")
    assert str(caught.value).endswith("; free space or set AUTOTUNE_HOME")
    assert "\n" not in str(caught.value)


def test_a_database_that_becomes_unwritable_in_the_middle_is_said_in_one_line():
    study = opened()

    def vanish(*args):
        if args[-1] == 2:
            searches.database().unlink()
            searches.database().mkdir()
        return 1.0

    with pytest.raises(ResourceError, match=r"^the search in .* cannot be written \(.*AUTOTUNE_HOME$"), (
        searches.storage_errors()
    ):
        study._storage.remove_session()
        study._storage._backend.engine.dispose()
        tried(Farm(vanish), study=study)
