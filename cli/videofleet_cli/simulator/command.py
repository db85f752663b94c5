"""`videofleet simulate`: scaling and fallback on paper, beside KEDA, Knative and others, before anybody pays."""

from pathlib import Path
from typing import Annotated

import typer

from videofleet_cli import screen
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.options import AsJson
from videofleet_cli.simulator import report
from videofleet_cli.simulator.lineup import Row, Scene, lineup
from videofleet_cli.simulator.synthetic import synthetic
from videofleet_cli.simulator.workload import HOUR_S, Job, TraceError, at_load, read_trace
from videofleet_cli.simulator.world import World
from videofleet_operator.plan.scaling import ScalingRules


def simulate(
    trace: Annotated[Path | None, typer.Option(metavar="CSV", help="Jobs of a real service; made up if unset.")] = None,
    load: Annotated[float, typer.Option(min=0.01, max=20, help="Work of the busiest hour, in all workers.")] = 0.7,
    days: Annotated[float, typer.Option(min=0.1, max=400, help="Length of made-up load, before --load.")] = 7.0,
    max_replicas: Annotated[int, typer.Option(min=1, max=1000, help="spec.scaling.maxReplicas.")] = 8,
    min_replicas: Annotated[int, typer.Option(min=0, max=1000, help="spec.scaling.minReplicas.")] = 0,
    target_wait: Annotated[float, typer.Option(min=1, help="spec.scaling.targetWait, in seconds.")] = 120.0,
    cold_start: Annotated[float, typer.Option(min=0, help="Seconds until a new worker is warm.")] = 180.0,
    gpus: Annotated[int, typer.Option(min=1, max=8, help="GPUs of a worker.")] = 1,
    quota: Annotated[
        int | None, typer.Option(min=1, help="Workers there are GPUs for; terminating ones count.")
    ] = None,
    mtbf: Annotated[float | None, typer.Option(min=60, help="Mean seconds between failures of a worker.")] = None,
    rollout_every: Annotated[
        float | None, typer.Option(min=0.5, metavar="HOURS", help="Apply a new revision that often.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of made-up load, cold starts and failures.")] = 1,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Page and plots.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the operator's own planners against a day's or a month's load, beside KEDA+HPA, Knative and fixed fleets."""
    if min_replicas > max_replicas:
        raise CommandError("--min-replicas must not be greater than --max-replicas", Exit.REFUSED)
    jobs = at_load(_jobs(trace, days, seed), load, max_replicas)
    rollouts_s = tuple(_times(rollout_every, jobs[-1].at_s - jobs[0].at_s)) if rollout_every else ()
    world = World(quota or max_replicas, cold_start, mtbf_s=mtbf, rollouts_s=rollouts_s, seed=seed)
    rows = lineup(Scene(jobs, world, gpus, ScalingRules(min_replicas, max_replicas, target_wait, 120, 1800)))
    hours = (jobs[-1].at_s - jobs[0].at_s) / HOUR_S
    source = trace.name if trace else f"made-up load, seed {seed}"
    title = f"{len(jobs)} jobs in {hours:.0f} h, load {load:g}: {source}, at most {max_replicas} workers"
    if output is not None:
        _write(output, title, rows)
    if as_json:
        screen.print_json(report.as_json(title, rows))
        return
    screen.out.print(title)
    screen.print_columns([report.COLUMNS, *(report.cells(row) for row in rows)])
    if output is not None:
        screen.out.print(f"Page and plots: {output}/index.html", markup=False)


def _times(every_h: float, lasts_s: float) -> list[float]:
    return [number * every_h * HOUR_S for number in range(1, int(lasts_s / (every_h * HOUR_S)) + 1)]


def _jobs(trace: Path | None, days: float, seed: int) -> list[Job]:
    if trace is None:
        return synthetic(days, seed)
    try:
        return read_trace(trace)
    except TraceError as error:
        raise CommandError(str(error), Exit.REFUSED) from error


def _write(folder: Path, title: str, rows: list[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(report.html(title, rows))
    for name, text in report.plots(rows).items():
        (folder / name).write_text(text)
