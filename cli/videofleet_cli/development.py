"""`demo` and `dev`, where the extra `devcluster` is installed; elsewhere, as in the images, they say so."""

from collections.abc import Callable
from typing import Final

import typer

from videofleet_cli.exits import CommandError, Exit

_ANY_ARGUMENTS: Final = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def mount(app: typer.Typer) -> None:
    """Adds both commands to the program."""
    try:
        from videofleet_cli import dev
        from videofleet_cli.demo.command import demo
    except ModuleNotFoundError as missing:
        for name in ("demo", "dev"):
            app.command(name, help="(needs the extra `devcluster`)", context_settings=_ANY_ARGUMENTS)(_absent(missing))
        return
    app.command()(demo)
    app.add_typer(dev.app, name="dev")


def _absent(missing: ModuleNotFoundError) -> Callable[[], None]:
    def say_so() -> None:
        message = (
            f"{missing.name} is not installed; the development cluster needs: pip install 'videofleet[devcluster]'"
        )
        raise CommandError(message, Exit.REFUSED)

    return say_so
