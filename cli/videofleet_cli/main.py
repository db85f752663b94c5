"""The program: commands, help, and the one place where an error becomes an exit code."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Final

import typer

from videofleet_cli import batch, development, intake, jobs, screen
from videofleet_cli.erase import erase
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.rollout import commands as rollout
from videofleet_cli.scaling.drain import drain
from videofleet_cli.scaling.explain import explain_scale
from videofleet_cli.scaling.top import top
from videofleet_cli.simulator.command import simulate
from videofleet_cli.status import status
from videofleet_cli.submit import submit, wait
from videofleet_cli.verify import verify

_HELP: Final = """Fleets of text-to-video workers on Kubernetes.

Exit codes: 0 done; 1 the job or a step of the demo failed; 2 wrong usage, or refused; 3 unreachable or busy, try again;
4 not allowed; 5 --timeout passed and the job goes on; 130 Ctrl-C.
"""

app: Final = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(submit)
app.command()(wait)
app.add_typer(jobs.app, name="jobs")
app.add_typer(batch.app, name="batch")
app.add_typer(intake.app, name="intake")
app.command()(erase)
app.command()(status)
app.command()(verify)
app.command()(top)
app.command("explain-scale")(explain_scale)
app.command()(drain)
app.command()(simulate)
app.add_typer(rollout.app, name="rollout")
development.mount(app)


@app.command()
def version() -> None:
    """Print the version."""
    screen.out.print(f"videofleet {installed_version('videofleet')}")


def main() -> None:
    """Runs the command line and exits with the code that the table in `exits` gives."""
    program = "kubectl videofleet" if Path(sys.argv[0]).name == "kubectl-videofleet" else "videofleet"
    try:
        app(prog_name=program)
    except CommandError as error:
        screen.complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


if __name__ == "__main__":
    main()
