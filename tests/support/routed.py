"""A pytest plugin: QCManyBody's own test suite, with each many-body computation on a warm autotune session.

    ROUTED_RECORD=seen.json PYTHONPATH=tests/support pytest -p routed -c /dev/null --pyargs qcmanybody

`ManyBodyComputer.from_manybodyinput` of both schemas plans as it always does, so that upstream's own errors come first,
and then hands the input to autotune instead of looping over its components; `qcengine.compute(..., "qcmanybody")`
follows, because it calls the same function. Calls with `build_tasks=False`, autotune's own among them, stay upstream's.
What was routed is counted for each test and written to the file at the end, as JSON, with the tests that name a program
and were not routed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

NO_TEST = "outside of tests"


class Routing:
    """What the plugin knows: the session, the test that runs, and what was counted for each."""

    def __init__(self):
        self.session = None
        self.test = NO_TEST
        self.routed = Counter()
        self.direct = Counter()
        self.reports = {}
        self.versions = {}
        self.tasks = 0

    def run(self, many_body_input):
        import autotune

        if self.session is None:
            self.session = autotune.Session(autotune.Options(journal="none"))
        self.routed[self.test] += 1
        result = self.session.run(many_body_input)
        if self.session.record is not None:
            self.tasks += self.session.record.tasks
            self.versions.update(self.session.record.versions)
        return result

    def close(self):
        if self.session is not None:
            self.session.close()

    def computed_without(self):
        """Return the tests that ran a program in this process, past autotune."""
        return sorted(test for test in self.direct if test not in self.routed)

    def computed_nothing(self):
        """Return the tests that name a program and ran, but computed nothing that could be seen."""
        seen = self.routed.keys() | self.direct.keys()
        return sorted(
            test
            for test, report in self.reports.items()
            if report["names_a_program"] and report["outcome"] != "skipped" and test not in seen
        )


routing = Routing()


def reroute(computer, input_model):
    """Replace a computer's class method by one that computes with autotune."""
    planned = computer.from_manybodyinput.__func__

    def from_manybodyinput(cls, many_body_input, build_tasks=True):
        if isinstance(many_body_input, dict):
            many_body_input = input_model(**many_body_input)
        plan = planned(cls, many_body_input, build_tasks=False)
        return routing.run(many_body_input) if build_tasks else plan

    computer.from_manybodyinput = classmethod(from_manybodyinput)


def watch_qcengine():
    import qcengine

    compute = qcengine.compute

    def watched(input_data, program, *arguments, **named):
        if program.lower() not in qcengine.list_all_procedures():
            routing.direct[routing.test] += 1
        return compute(input_data, program, *arguments, **named)

    qcengine.compute = watched


def pytest_configure():
    from qcmanybody import v1 as computers_1
    from qcmanybody import v2 as computers_2
    from qcmanybody.models import v1, v2

    from autotune.plugin.manager import Manager

    Manager().register_programs()
    reroute(computers_1.ManyBodyComputer, v1.ManyBodyInput)
    reroute(computers_2.ManyBodyComputer, v2.ManyBodyInput)
    watch_qcengine()


def pytest_runtest_logstart(nodeid):
    routing.test = nodeid


def pytest_runtest_logfinish():
    routing.test = NO_TEST


def pytest_runtest_logreport(report):
    before = routing.reports.get(report.nodeid)
    if report.when == "call" or report.outcome != "passed":
        if before and before["outcome"] == "failed":
            return
        routing.reports[report.nodeid] = {
            "outcome": report.outcome,
            "said": said(report),
            "names_a_program": "addon" in report.keywords,
        }


def said(report):
    """Return the reason of a skipped test, or the first line of what made one fail."""
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message.splitlines()[0] if crash and crash.message else ""


def pytest_sessionfinish():
    routing.close()
    record = {
        "tests": {
            test: {**report, "routed": routing.routed[test], "direct": routing.direct[test]}
            for test, report in sorted(routing.reports.items())
        },
        "routed": routing.routed.total(),
        "tasks": routing.tasks,
        "computed_without_autotune": routing.computed_without(),
        "computed_nothing": routing.computed_nothing(),
        "versions": routing.versions,
    }
    Path(os.environ["ROUTED_RECORD"]).write_text(json.dumps(record))
