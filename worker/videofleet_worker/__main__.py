"""`videofleet-worker`: entry of the supervisor.

Imports nothing until it is called: a compute process imports the main module of its parent once more.
"""


def main() -> None:
    """Runs the worker: exit code 0 after a drain, 1 after a fault. Or one of its other programs."""
    import sys

    match sys.argv[1:2]:
        case ["manifest"]:
            from videofleet_worker import manifest

            raise SystemExit(manifest.main(sys.argv[2:]))
        case ["plan"]:
            from videofleet_worker import plan

            raise SystemExit(plan.main(sys.argv[2:]))
        case ["fuse"]:
            from videofleet_worker.compute import fuse

            raise SystemExit(fuse.main(sys.argv[2:]))
        case ["decode"]:
            from videofleet_worker import decoder

            decoder.run(sys.argv[2:])
        case ["fetch"]:
            from videofleet_worker.weights import command

            command.main(sys.argv[2:])
    from videofleet_worker.supervisor import run

    run()


if __name__ == "__main__":
    main()
