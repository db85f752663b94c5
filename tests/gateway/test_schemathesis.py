"""Schemathesis makes up requests from the OpenAPI document and holds a real gateway's answers against it.

Bounded: some examples an operation, always the same ones. The event stream is left out, because it does not end. That
what fits the document is accepted is not asked of a POST: which tiers a fleet offers is no matter of the document.
"""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from videofleet_gateway.openapi.document import document
from videofleet_gateway.openapi.operations import OPERATIONS
from videofleet_gateway.validation import ACCEPTED

load_all_checks()
schema = schemathesis.openapi.from_dict(document(OPERATIONS, ACCEPTED)).exclude(path_regex=r"/events$")
HEALTH = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@schemathesis.serializer("application/jsonl")
def as_it_is(_: Any, value: Any) -> bytes:
    return str(value).encode(errors="replace")


@schema.parametrize()
@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=HEALTH)
def test_every_answer_is_as_described(case: Case, gateway: Any) -> None:
    unheld = [positive_data_acceptance] if case.method == "POST" else []
    case.call_and_validate(
        excluded_checks=unheld, base_url=gateway.url, headers={"Authorization": f"Bearer {gateway.keys['loner199']}"}
    )
    assert "Traceback" not in gateway.log()
