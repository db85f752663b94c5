"""The options that several commands share, spelled once."""

from pathlib import Path
from typing import Annotated

import typer

GatewayUrl = Annotated[
    str,
    typer.Option("--gateway", envvar="VIDEOFLEET_GATEWAY", metavar="URL", help="Address of the gateway."),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file", envvar="VIDEOFLEET_API_KEY_FILE", metavar="FILE", help="File with the API key, vf_…."
    ),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", envvar="KUBECONFIG", metavar="FILE", help="Cluster to ask; as kubectl does if unset."),
]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="The context's if unset.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for programs.")]
Timeout = Annotated[
    float | None, typer.Option(min=1, metavar="SECONDS", help="Stop waiting after that long; the job goes on.")
]
OutputFile = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the MP4 goes.")]

DEFAULT_GATEWAY = "http://127.0.0.1:8080"
