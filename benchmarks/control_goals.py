"""The control plane's goals beside what the other benchmarks of `make bench-control` have just measured.

Usage: python benchmarks/control_goals.py, after bench_rollout, bench_abort and bench_scaling. Prints a table, writes
build/bench/control.json. Goals that need a whole system are in bench_operator (fleets, restart, memory) and the tests.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

BENCH = Path("build/bench")
ELSEWHERE = {
    "full cluster, rollout of N workers: capacity ≥ N-1": "tests/operator/test_surge.py",
    "1,000 VideoGenerators": "make bench-operator",
    "leader killed or paused: ≤ 15 s, nothing twice": "tests/operator/component/test_leader.py",
}


@dataclass(frozen=True)
class Goal:
    """One row."""

    what: str
    goal: str
    measured: str
    baseline: str
    is_met: bool


def main() -> None:
    """Reads, prints, writes."""
    rollout, abort, scaling = (
        json.loads((BENCH / f"{name}.json").read_text()) for name in ("rollout", "abort", "scaling")
    )
    goals = [*rollout_goals(rollout), abort_goal(abort), *trace_goals(scaling["trace"]), *load_goals(scaling)]
    table = Table("what", "goal", "measured", "baseline", "met", title="Goals of the control plane")
    for goal in goals:
        table.add_row(goal.what, goal.goal, goal.measured, goal.baseline, "yes" if goal.is_met else "NO")
    for what, where in ELSEWHERE.items():
        table.add_row(what, "", where, "", "")
    Console(width=170).print(table)
    report = {"bench": "control", "goals": [asdict(goal) for goal in goals], "elsewhere": ELSEWHERE}
    (BENCH / "control.json").write_text(json.dumps(report, indent=2, ensure_ascii=False))


def rollout_goals(found: dict[str, Any]) -> list[Goal]:
    """The verdict and the share of the jobs."""
    off = max(found["most_jobs_off"].values())
    goals = [Goal("canary share, 0.1 to 50 %", "n·w ± 1 job", f"± {off:.3f} jobs", "", off <= 1)]
    for name, rules in found["results"].items():
        row = rules["videofleet"]
        others = ", ".join(f"{rule} {rules[rule]['promoted']:.1%}" for rule in ("Flagger", "Argo") if rule in rules)
        if name.startswith("as good"):
            goal, is_met = "promoted ≥ 95 %, rejected ≤ 1 %", row["promoted"] >= 0.95 and row["rejected"] <= 0.01
        else:
            times = row["jobs_mean"] / rules["Wald"]["jobs_mean"] if "Wald" in rules else 0.0
            goal, is_met = "rejected ≥ 99 % within 2 × Wald's jobs", row["rejected"] >= 0.99 and times <= 2
        measured = f"promoted {row['promoted']:.1%}, rejected {row['rejected']:.1%}, {row['jobs_mean']:,.0f} jobs"
        goals.append(Goal(f"verdict: {name}", goal, measured, f"promoted: {others}" if others else "", is_met))
    return goals


def abort_goal(found: dict[str, Any]) -> Goal:
    """The live system."""
    p99 = found["p99_ms"]
    return Goal("abort → last canary dispatch", "p99 ≤ 2 s", f"p99 {p99:.0f} ms of {found['fleets']}", "", p99 <= 2000)


def trace_goals(rows: list[dict[str, Any]]) -> list[Goal]:
    """Equal GPU-hours with tuned KEDA+HPA."""
    return [
        Goal(
            f"trace, load {row['load']}{', fallback' if row['fallback'] else ''}, as dear as KEDA {row['keda_target']}",
            "≥ 50 % of the gap closed",
            f"{row['gap_closed']:.0%}: p95 {row['wait_p95_s']:.0f} s, {row['gpu_hours']:.0f} GPU-h",
            f"KEDA {row['keda_p95_s']:.0f} s, bound {row['bound_p95_s']:.1f} s",
            row["gap_closed"] >= 0.5,
        )
        for row in rows
    ]


def load_goals(found: dict[str, Any]) -> list[Goal]:
    """Overload, surge and scale-downs."""
    over, churn = found["overload"], found["churn"]
    moves, full = over["moves_per_5_min"], over["protected_at_full_tier"]
    waits = f"{over['degradable_p95_s']:.0f} s", f"{over['degradable_p95_without_s']:.0f} s without fallback"
    goals = [
        Goal("2 × overload: degradable p95", "≥ 2 × lower", *waits, over["times_lower"] >= 2),
        Goal("2 × overload: protected at full tier", "≥ 99 %", f"{full:.1%}", "", full >= 0.99),
        Goal("2 × overload: moves of the fallback", "≤ 1 per 5 min", f"{moves:.2f}", "", moves <= 1),
        Goal(
            "2 × overload: capacity still grows", "to all 8", f"{over['most_workers']}", "", over["most_workers"] == 8
        ),
    ]
    for name, row in found["surge"].items():
        measured = f"{row['delivered']:,} of {row['accepted']:,}, restored after {row['restored_after_surge_s']:.0f} s"
        is_met = row["delivered"] == row["accepted"] and row["restored_after_surge_s"] <= row["allowed_s"]
        goals.append(
            Goal(
                f"5 × surge, {'with' if 'with f' in name else 'without'} fallback",
                f"all delivered, restored ≤ {row['allowed_s']:.0f} s",
                measured,
                "",
                is_met,
            )
        )
    lost, blind = f"{churn['killed']} of {churn['jobs']:,}", f"{churn['killed_without_handshake']:,} without handshake"
    goals.append(Goal("jobs that a scale-down cost an attempt", "0 of 10,000", lost, blind, churn["killed"] == 0))
    return goals


if __name__ == "__main__":
    main()
