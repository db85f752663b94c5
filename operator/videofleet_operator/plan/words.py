"""Numbers as people say them, for the sentences of plans."""


def duration(seconds: float) -> str:
    """45 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def workers(count: int) -> str:
    """No worker, 1 worker, 2 workers."""
    return "no worker" if count == 0 else "1 worker" if count == 1 else f"{count} workers"
