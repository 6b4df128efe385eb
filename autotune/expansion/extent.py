"""How large a many-body expansion is, before anything of it is planned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from autotune.base.errors import InputError, quoted
from autotune.expansion.component import PROPERTIES

if TYPE_CHECKING:
    from qcmanybody.models.v2 import ManyBodyInput

MOST_COMPONENTS = 1_000_000  # of one model chemistry: a thousand bytes each, and a tenth of a millisecond to plan


def check(many_body_input: ManyBodyInput) -> None:
    """Raise `InputError` for levels or a driver that upstream has not, and for more components than can be planned.

    Upstream would fill the memory with those.
    """
    keywords = many_body_input.specification.keywords
    if many_body_input.specification.driver.value not in PROPERTIES:
        driver = many_body_input.specification.driver.value
        raise InputError(f"driver {driver!r} has no many-body expansion; take {', '.join(PROPERTIES)}")
    fragments = len(many_body_input.molecule.fragments)
    bodies = [body for body in keywords.levels or () if body != "supersystem"]
    if bodies and max(bodies) > fragments:
        raise InputError(
            f"levels name the {quoted(max(bodies))}-body level, but the molecule has {fragments} fragments"
        )
    if keywords.levels and not bodies:
        raise InputError("levels name the supersystem alone; name a lower level, too, such as 1")
    if min(bodies, default=1) < 1:
        raise InputError(f"levels name the {quoted(min(bodies))}-body level; the lowest is 1")
    if keywords.max_nbody is not None and not 1 <= keywords.max_nbody <= fragments:
        raise InputError(f"max_nbody is {keywords.max_nbody}, but must lie within 1 and the {fragments} fragments")
    if bodies and keywords.max_nbody not in (None, max(bodies)):
        # Upstream would forget the levels.
        raise InputError(f"max_nbody is {keywords.max_nbody}, but levels go up to {max(bodies)}; leave max_nbody out")
    if keywords.supersystem_ie_only and len(keywords.levels or ()) > 1:
        raise InputError(
            "several levels and supersystem_ie_only do not go together: with it no level between is computed; leave one"
            " of the two out"
        )
    highest = max(bodies, default=fragments) if keywords.max_nbody is None else keywords.max_nbody
    subsystems = any(bsse.value == "vmfc" for bsse in keywords.bsse_type)
    components = 0
    for body in range(1, 1 if keywords.supersystem_ie_only else min(highest, fragments) + 1):
        components += math.comb(fragments, body) * (2**body if subsystems else 1)
        if components > MOST_COMPONENTS:
            raise InputError(
                f"up to {body}-body the expansion of {fragments} fragments has {components:.2g} components, more than"
                f" the {MOST_COMPONENTS} that can be planned; give a smaller max_nbody"
            )
