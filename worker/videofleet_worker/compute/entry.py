"""Where a compute process begins. Free of torch, because the supervisor imports it to name the function."""

import socket


def run(channel: socket.socket) -> None:
    """The life of one compute process; its commands come over `channel`."""
    from videofleet_worker.compute.process import main

    main(channel)
