"""docs/reference/metrics.md lists every metric of every program, with its type and labels, and no other."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import videofleet_operator.fleet_metrics  # noqa: F401 - its gauges register themselves
from videofleet_gateway.metrics import Metrics as GatewayMetrics
from videofleet_gateway.webhooks.metrics import Metrics as DeliverMetrics
from videofleet_operator.metrics import REGISTRY
from videofleet_worker.metrics import Metrics as WorkerMetrics

PAGE = Path(__file__).parents[1] / "docs/reference/metrics.md"
REGISTRIES = {
    "operator": REGISTRY,
    "gateway": GatewayMetrics().registry,
    "deliverer": DeliverMetrics().registry,
    "worker": WorkerMetrics().registry,
}


def rows(registry: CollectorRegistry) -> dict[str, str]:
    """Name → its row of the page."""
    found = {}
    for metric in registry._collector_to_names:
        for family in metric.describe():
            name = family.name + ("_total" if family.type == "counter" else "")
            names = getattr(metric, "_labelnames", None)
            labels = ", ".join(f"`{label}`" for label in (family._labelnames if names is None else names))
            found[name] = f"| `{name}` | {family.type} | {labels} | {family.documentation} |"
    return found


@pytest.mark.parametrize("program", REGISTRIES)
def test_every_metric_is_on_the_page(program: str) -> None:
    lines = set(PAGE.read_text().splitlines())
    missing = [row for row in rows(REGISTRIES[program]).values() if row not in lines]
    assert not missing, "docs/reference/metrics.md lacks\n" + "\n".join(missing)


def test_the_page_names_no_metric_that_is_not_there() -> None:
    known = {row for registry in REGISTRIES.values() for row in rows(registry).values()}
    stale = [line for line in PAGE.read_text().splitlines() if line.startswith("| `videofleet_") and line not in known]
    assert not stale, "\n".join(stale)
