"""The oracle for equality: upstream's own serial loop, replaying our component results."""

from __future__ import annotations

import json
from unittest import mock


def replayed(many_body_input, result):
    """Return upstream's ManyBodyResult for an input, from the component results that `result` (v2) kept."""
    from qcmanybody.v2 import ManyBodyComputer

    by_content = {_content(component.input_data): component for component in result.cluster_results.values()}
    asked = []

    def replay(atomic_input, program, **_):
        asked.append(program)
        return by_content[_content(atomic_input)]

    with mock.patch("qcengine.compute", replay):
        answer = ManyBodyComputer.from_manybodyinput(many_body_input)
    assert len(asked) == len(result.cluster_results)
    return answer


def _content(atomic_input):
    fields = json.loads(atomic_input.model_dump_json())
    return json.dumps([fields["molecule"], {**fields["specification"], "program": ""}], sort_keys=True)


def assert_bit_equal(ours, upstreams):
    """Compare two ManyBodyResults as text: JSON prints every bit of a number."""
    assert json.loads(ours.model_dump_json()) == json.loads(upstreams.model_dump_json())
    assert ours.model_dump_json() == upstreams.model_dump_json()
