"""The oracle for equality: upstream's own serial loop, replaying our component results."""

from __future__ import annotations

import json
from unittest import mock

from qcmanybody.models import v1


def replayed(many_body_input, result):
    """Return upstream's ManyBodyResult for an input, from the component results that `result` kept; v1 or v2."""
    if isinstance(many_body_input, v1.ManyBodyInput):
        from qcmanybody.v1 import ManyBodyComputer

        components = result.component_results.values()
        by_content = {_content_v1(component): component for component in components}
        content = _content_v1
    else:
        from qcmanybody.v2 import ManyBodyComputer

        components = result.cluster_results.values()
        by_content = {_content_v2(component.input_data): component for component in components}
        content = _content_v2
    asked = []

    def replay(atomic_input, program, **_):
        asked.append(program)
        return by_content[content(atomic_input)]

    with mock.patch("qcengine.compute", replay):
        answer = ManyBodyComputer.from_manybodyinput(many_body_input)
    assert len(asked) == len(components)
    return answer


def _content_v1(atomic_input_or_result):
    fields = json.loads(atomic_input_or_result.json())
    return json.dumps([fields[name] for name in ("molecule", "driver", "model", "keywords")], sort_keys=True)


def _content_v2(atomic_input):
    fields = json.loads(atomic_input.model_dump_json())
    return json.dumps([fields["molecule"], {**fields["specification"], "program": ""}], sort_keys=True)


def assert_bit_equal(ours, upstreams):
    """Compare two ManyBodyResults as text: JSON prints every bit of a number.

    A v1 result names the v2 computer as its origin, because autotune computes in v2 and converts at the end.
    """
    if isinstance(ours, v1.ManyBodyResult):
        our_fields, upstream_fields = json.loads(ours.json()), json.loads(upstreams.json())
        assert our_fields["provenance"].pop("routine") == "qcmanybody.v2.computer"
        assert upstream_fields["provenance"].pop("routine") == "qcmanybody.v1.computer"
        assert our_fields == upstream_fields
        return
    assert json.loads(ours.model_dump_json()) == json.loads(upstreams.model_dump_json())
    assert ours.model_dump_json() == upstreams.model_dump_json()
