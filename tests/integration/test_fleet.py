"""Several machines behind an executor: same result as on one, lost nodes cost their bundles and nothing else."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    InvalidStateError,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context

import pytest
from processes import below

import autotune
from autotune.base.errors import InputError, ResourceError, TaskError
from autotune.expansion import workload
from autotune.plugin.manager import Manager
from autotune.runtime import fleet, node
from autotune.schedule import bundles
from autotune.session.session import Options, Session


@pytest.fixture(autouse=True, scope="module")
def a_node_ends_with_its_processes(steady_environment):
    """Let the node of this process stay warm from one test to the next."""
    del steady_environment
    yield
    node._end()
    deadline = time.monotonic() + 5.0
    while ours() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ours() == []


def ours():
    """Return the command lines of nodes' processes; Python's own resource tracker stays."""
    return [line for line in (" ".join(child.cmdline()) for child in below()) if "autotune" in line]


@pytest.fixture
def small_bundles(monkeypatch):
    monkeypatch.setattr(bundles, "LEAST_S", 0.001)
    monkeypatch.setattr(bundles, "FIRST_S", 0.002)
    monkeypatch.setattr(bundles, "MOST_S", 0.002)


class Flaky(ThreadPoolExecutor):
    """Nodes in this process: calls of some numbers are cancelled or do not arrive, `behind` changes answers."""

    def __init__(self, *, before=(), cancelled=(), behind=lambda _, computed: computed, nodes=2):
        super().__init__(nodes)
        self.calls = Counter()
        self._before, self._cancelled, self._behind = set(before), set(cancelled), behind

    def submit(self, fn, /, bundle):
        self.calls[fn.__name__] += 1
        number = self.calls[fn.__name__] if fn is node.compute else 0

        def call():
            if number in self._before:
                raise ConnectionError("the node does not answer")
            return self._behind(number, fn(bundle)) if number else fn(bundle)

        if number in self._cancelled:
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future
        return super().submit(call)


def processes(number):
    return ProcessPoolExecutor(number, mp_context=get_context("spawn"))


def lines(path):
    return Counter(path.read_text().split("\n")[:-1]) if path.exists() else Counter()


def test_the_result_is_that_of_one_machine_to_the_last_bit(cluster):
    fields = cluster("water4", max_nbody=3, bsse=("cp", "nocp"))
    here = autotune.run(fields, cores=1, journal="none")  # widths change last digits
    with processes(2) as executor, Session(Options(executor=executor, cores=1, journal="none")) as session:
        there = session.run(fields)
        record = session.record
    assert there.model_dump_json() == here.model_dump_json()
    assert (record.nodes, record.machine.cores) == (2, 2)
    assert len(record.task_records) == record.tasks == record.attempts
    assert 0 < record.efficiency <= 1
    assert all(task.started_s + task.wall_s <= record.wall_s + 0.5 for task in record.task_records)


@pytest.mark.usefixtures("small_bundles")
def test_what_tasks_share_stays_from_one_bundle_to_the_next(cluster):
    seen = []

    def behind(_, computed):
        folder = node._here.place._pool.scratch / "shared" / "pyscf-integrals"
        seen.append({(file.name, file.stat().st_ino) for file in folder.glob("[!.]*")})
        return computed

    with Flaky(behind=behind, nodes=1) as executor:
        autotune.run(cluster("water4", max_nbody=3), executor=executor, cores=1, journal="none")
    assert len(seen) > 3
    assert all(before <= after for before, after in pairwise(seen))
    assert len(seen[-1]) == 6  # pairs of four waters


@pytest.mark.programs("pyscf")
def test_dask_runs_bundles_through_its_executor(cluster):
    distributed = pytest.importorskip("distributed")
    fields = cluster("water2", max_nbody=2)
    here = autotune.run(fields, cores=1, journal="none")  # widths change last digits
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0, silence_logs=50
        ) as nodes,
        distributed.Client(nodes) as client,
    ):
        there = autotune.run(fields, executor=client.get_executor(), nodes=2, cores=1, journal="none")
    assert there.model_dump_json() == here.model_dump_json()


def test_components_come_from_nodes_as_well(cluster):
    fields = cluster("water2", max_nbody=2)
    with ThreadPoolExecutor(1) as executor, Session(Options(executor=executor, journal="none")) as session:
        found = session.components(fields)
    assert sorted(len(result.molecule.symbols) for result in found.values()) == [3, 3, 6]
    assert all(result.success for result in found.values())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"executor": Executor()}, r"^the executor does not say how many nodes it has; give nodes="),
        ({"executor": Executor(), "backend": "parsl"}, "give one"),
        ({"backend": "abacus"}, r"^there is no backend 'abacus'; there are local, parsl"),
        ({"nodes": 3}, "option nodes is for several machines"),
        ({"backend_config": "file.py"}, "option backend_config is for several machines"),
        ({"nodes": 0, "backend": "parsl"}, "option nodes is 0"),
    ],
)
def test_options_that_have_no_meaning_here_are_refused(faulty, given, said):
    with pytest.raises(InputError, match=said):
        autotune.run(faulty(), **given)


def test_what_fails_on_a_node_fails_as_it_does_here(faulty):
    fields = faulty("water4", "crash", at=[6])
    with ThreadPoolExecutor(2) as executor, pytest.raises(TaskError, match=r"^6 of 10 tasks failed: .*SIGSEGV"):
        autotune.run(fields, executor=executor, journal="none")


def test_a_program_that_is_missing_on_the_nodes_is_said_in_one_line(cluster):
    fields = cluster("water2", program="cfour", method="hf", basis="sto-3g")
    with ThreadPoolExecutor(1) as executor, pytest.raises(InputError, match="cfour") as caught:
        autotune.run(fields, executor=executor, journal="none")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("small_bundles")
def test_with_fail_fast_no_bundle_is_dealt_after_a_failure(faulty):
    fields = faulty("water6", "diverge", at=[6], max_nbody=2)
    with ThreadPoolExecutor(1) as executor, pytest.raises(TaskError, match="were not started after that"):
        autotune.run(fields, executor=executor, fail_fast=True, journal="none")


@pytest.mark.usefixtures("small_bundles")
def test_bundles_that_do_not_come_back_or_are_cancelled_by_somebody_else_are_dealt_again(faulty, tmp_path):
    log, said = tmp_path / "log", []
    fields = faulty("water6", max_nbody=3, log=str(log))
    with (
        Flaky(before={2, 3, 5}, cancelled={1, 4}) as executor,
        Session(Options(executor=executor, journal="none"), on_notice=said.append) as session,
    ):
        assert session.run(fields).return_result == 0.0
    assert executor.calls["compute"] > 6
    assert sum("did not come back (ConnectionError: the node does not answer)" in line for line in said) == 3
    assert sum(lines(log).values()) == 41  # what never reached a node is computed once


@pytest.mark.usefixtures("small_bundles")
def test_what_was_computed_by_a_node_that_is_lost_is_computed_again_and_nothing_else(faulty, tmp_path):
    log, lost = tmp_path / "log", []

    def behind(number, computed):
        if number in (1, 4):
            lost.append(len(computed.execution.values))
            raise ConnectionError("gone with all it had")
        return computed

    with Flaky(behind=behind) as executor:
        result = autotune.run(faulty("water6", max_nbody=3, log=str(log)), executor=executor, journal="none")
    assert result.return_result == 0.0
    assert sum(lines(log).values()) == 41 + sum(lost)


def test_nodes_that_never_answer_end_the_run_with_a_reason(faulty):
    with Flaky(before=range(1, 100)) as executor, pytest.raises(ResourceError, match="no bundle comes back") as caught:
        autotune.run(faulty(), executor=executor, journal="none")
    assert "the node does not answer" in str(caught.value)


def test_a_task_that_takes_its_node_with_it_fails_alone(faulty):
    poison = 7

    def behind(_, computed):
        if any(record.number == poison for record in computed.execution.records):
            raise ConnectionError("taken down")
        return computed

    with Flaky(behind=behind) as executor, Session(Options(executor=executor, journal="none")) as session:
        with pytest.raises(TaskError, match=r"^1 of 10 tasks failed: .*the node was lost 3 times") as caught:
            session.run(faulty())
        assert len(caught.value.done) == 9
        (failed,) = [record for record in session.record.task_records if record.status == "failed"]
    assert (failed.number, failed.error_type) == (poison, "crash")


@pytest.mark.usefixtures("small_bundles")
def test_a_node_with_another_version_of_a_program_is_not_believed(faulty):
    def behind(number, computed):
        if number < 3:
            return computed
        checked = computed.seen.checked._replace(versions={"faulty": "2.0"})
        return computed._replace(seen=computed.seen._replace(host="node7", checked=checked))

    with Flaky(behind=behind) as executor, pytest.raises(InputError, match=r"^node7 has faulty 2.0, the first node"):
        autotune.run(faulty("water6", max_nbody=3), executor=executor, journal="none")


def test_a_bundle_that_is_back_counts_also_where_another_ends_the_run(faulty, tmp_path):
    log, journal = tmp_path / "log", str(tmp_path / "journal")
    fields = faulty("water6", max_nbody=3, log=str(log))
    back = threading.Event()

    class Broken(ThreadPoolExecutor):
        """Gives back its first bundle together with word that the second broke it."""

        first = None

        def submit(self, fn, /, bundle):
            if fn is not node.compute:
                return super().submit(fn, bundle)
            if Broken.first is None:
                Broken.first = Future()
                Broken.first.set_running_or_notify_cancel()
                self.bundle = bundle
                return Broken.first
            second = Future()
            second.set_running_or_notify_cancel()

            def both():
                done = fn(self.bundle)
                second.set_exception(BrokenExecutor("the pool is broken"))
                Broken.first.set_result(done)
                back.set()

            super().submit(both)
            return second

    with Broken(1) as executor, pytest.raises(ResourceError, match="takes no more bundles"):
        autotune.run(fields, executor=executor, nodes=1, journal=journal)
    assert back.wait(5.0)
    computed = sum(lines(log).values())
    with ThreadPoolExecutor(1) as other:
        autotune.run(fields, executor=other, nodes=1, journal=journal, resume=True)
    assert sum(lines(log).values()) == 41
    assert computed > 0


def test_a_node_with_another_version_of_autotune_says_so(faulty):
    class Old(ThreadPoolExecutor):
        def submit(self, fn, /, bundle):
            return super().submit(fn, bundle._replace(version="0.0.1"))

    with Old(1) as executor, pytest.raises(ResourceError, match=r"has autotune .*, not 0\.0\.1; install one version"):
        autotune.run(faulty(), executor=executor, journal="none")


def interrupt(_):
    raise KeyboardInterrupt


@pytest.mark.usefixtures("small_bundles")
@pytest.mark.parametrize(
    ("do", "error", "why"),
    [(ThreadPoolExecutor.shutdown, ResourceError, "takes no more bundles"), (interrupt, KeyboardInterrupt, None)],
)
def test_after_ctrl_c_or_a_shutdown_of_the_executor_the_journal_goes_on_from_there(faulty, tmp_path, do, error, why):
    log, journal = tmp_path / "log", str(tmp_path / "journal")
    fields = faulty("water6", max_nbody=3, log=str(log))
    executor = ThreadPoolExecutor(1)
    stop = Stop(after=5, do=lambda: do(executor))
    with (
        Session(Options(executor=executor, journal=journal), on_progress=stop) as session,
        pytest.raises(error, match=why) as caught,
    ):
        session.run(fields)
    assert "--resume goes on from there" in "".join(caught.value.__notes__)
    executor.shutdown()
    with (
        ThreadPoolExecutor(1) as other,
        Session(Options(executor=other, journal=journal, resume=True)) as session,
    ):
        assert session.run(fields).return_result == 0.0
        assert session.record.recalled >= 5
        assert session.record.attempts == 41 - session.record.recalled
    assert sum(lines(log).values()) <= 41 + 8  # the bundles that were on their way


class Stop:
    """Does something once, when so many tasks are done."""

    def __init__(self, *, after, do):
        self._after, self._do = after, do

    def __call__(self, snapshot):
        if snapshot.done >= self._after and self._do:
            do, self._do = self._do, None
            do()


def test_a_node_without_bundles_ends_its_workers(faulty, monkeypatch):
    monkeypatch.setattr(node, "IDLE_S", 0.3)
    with ThreadPoolExecutor(1) as executor:
        autotune.run(faulty(), executor=executor, journal="none")
        assert ours()
        deadline = time.monotonic() + 10.0
        while ours() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ours() == []
        assert autotune.run(faulty(), executor=executor, journal="none").return_result == 0.0


def test_bundles_that_an_executor_gives_a_node_together_run_one_after_another(faulty):
    fields = faulty("water2", "sleep", seconds=0.3)
    with ThreadPoolExecutor(3) as executor, Session(Options(executor=executor, journal="none", workers=1)) as session:
        session.run(fields)
        times = sorted((task.started_s, task.started_s + task.wall_s) for task in session.record.task_records)
    assert all(end <= start + 0.05 for (_, end), (start, _) in pairwise(times))


def test_rescued_tasks_are_kept_under_their_rescue_keywords(faulty, tmp_path):
    fields = faulty("water2", "diverge", at=[6])
    with ThreadPoolExecutor(1) as executor:
        options = Options(executor=executor, journal=str(tmp_path / "journal"), rescue={"at": [99]}, resume=True)
        with Session(options) as session:
            for recalled in (0, 3):
                assert session.run(fields).success
                assert session.record.recalled == recalled
        with Session(replace(options, rescue={})) as session, pytest.raises(TaskError):
            session.run(fields)


class JustTooLate(Future):
    """Ends right after whoever waits for its result has given up, at the latest after a while."""

    def __init__(self):
        super().__init__()
        threading.Timer(0.1, self.end).start()

    def end(self):
        with contextlib.suppress(InvalidStateError):
            self.set_result("seen")

    def result(self, timeout=None):
        try:
            return super().result(timeout)
        except TimeoutError:
            self.end()
            raise


def test_a_look_that_ends_between_two_glances_at_it_has_not_failed(faulty, monkeypatch):
    class Late(ThreadPoolExecutor):
        def submit(self, fn, /, bundle):
            del fn, bundle
            return JustTooLate()

    monkeypatch.setattr(fleet, "TICK_S", 0.01)
    monkeypatch.setattr(fleet, "LOOKS", 1)
    with Late(1) as executor:
        several = fleet.Fleet(Options(executor=executor), manager=Manager(), say=print)
        assert several._look(workload.load(faulty("water2"))) == "seen"


def test_a_node_that_itself_takes_too_long_for_something_is_looked_at_again(faulty, monkeypatch):
    class Slow(ThreadPoolExecutor):
        asked = 0

        def submit(self, fn, /, bundle):
            Slow.asked += 1
            return super().submit(self.answer, fn, bundle, Slow.asked)

        def answer(self, fn, bundle, number):
            if number == 1:
                raise TimeoutError("no lock on the scratch folder")
            return fn(bundle)

    monkeypatch.setattr(fleet, "TICK_S", 0.01)
    work = workload.load(faulty("water2"))
    with Slow(1) as executor:
        seen = fleet.Fleet(Options(executor=executor, journal="none"), manager=Manager(), say=print)._look(work)
    assert (Slow.asked, seen.checked.problems) == (2, ())
