"""Redis keys that Python touches itself; all others are made inside the scripts, under the same prefix."""


def fleet_prefix(installation: str, fleet_uid: str) -> str:
    """Prefix and cluster hash tag of one fleet: every key of a script shares its slot."""
    return f"vf:{{{installation}/{fleet_uid}}}"


def tenant_prefix(installation: str, name: str) -> str:
    """Prefix and cluster hash tag of one tenant over all fleets. No fleet UID looks like it."""
    return f"vf:{{{installation}/tenant/{name}}}"


def installation_prefix(installation: str) -> str:
    """Prefix and hash tag of what belongs to no fleet."""
    return f"vf:{{{installation}}}"


def open_batches(installation: str) -> str:
    """Sorted set of batches that have work left, `<tenant> <id>` by the time of the next look."""
    return f"{installation_prefix(installation)}:batches"


def batches(tenant: str) -> str:
    """Sorted set of a tenant's batches by id, which is by time. `tenant`: its prefix."""
    return f"{tenant}:batches"


def batch(tenant: str, batch_id: str) -> str:
    """Hash of one batch."""
    return f"{tenant}:batch:{batch_id}"


def batch_lines(tenant: str, batch_id: str) -> str:
    """List of a batch's lines, JSON."""
    return f"{tenant}:batch:{batch_id}:lines"


def tenant_fleets(installation: str, name: str) -> str:
    """Set of the fleets in which a tenant may have jobs; while it is empty, all are looked at."""
    return f"{tenant_prefix(installation, name)}:fleets"


def fleet_index(installation: str) -> str:
    """Hash of all fleets: UID → namespace/name."""
    return f"vf:{{{installation}}}:fleets"


def job(prefix: str, job_id: str) -> str:
    """Hash of one job."""
    return f"{prefix}:job:{job_id}"


def usage(prefix: str, name: str) -> str:
    """Hash of what a tenant has in one fleet."""
    return f"{prefix}:usage:{name}"


def tenant(prefix: str, name: str) -> str:
    """Sorted set of a tenant's job ids in one fleet, by id, which is by time."""
    return f"{prefix}:tenant:{name}"


def dead(prefix: str, name: str) -> str:
    """Sorted set of a tenant's dead jobs in one fleet, by the time of their end."""
    return f"{prefix}:dead:{name}"


def outcomes(prefix: str) -> str:
    """Hash of counters: `<revision>|<tier>|<what>`."""
    return f"{prefix}:outcomes"


def idempotency(prefix: str, tenant_name: str, digest: str) -> str:
    """Hash of the job that an Idempotency-Key made in one fleet."""
    return f"{prefix}:idem:{tenant_name}:{digest}"


def policy(prefix: str) -> str:
    """The published policy, JSON."""
    return f"{prefix}:policy"


def erasures(prefix: str) -> str:
    """How often a tenant was erased from the fleet."""
    return f"{prefix}:erasures"


def closed(prefix: str) -> str:
    """Why the fleet is closed; missing while it is open."""
    return f"{prefix}:closed"


def workers(prefix: str) -> str:
    """Hash of worker beacons."""
    return f"{prefix}:workers"


def signing(installation: str, day: int) -> str:
    """The gateways' signing key of one day."""
    return f"vf:{{{installation}}}:signing:{day}"


def cached(prefix: str, scope: str, digest: str) -> str:
    """List of the jobs that asked for one video, the latest first; `remember` makes it."""
    return f"{prefix}:cache:{scope}:{digest}"


def paused(installation: str) -> str:
    """Set of the fleets whose intake is paused."""
    return f"vf:{{{installation}}}:paused"


def feedback(prefix: str) -> str:
    """Hash of counters: `<revision>|<tier>|<what>`."""
    return f"{prefix}:feedback"


def decoders(prefix: str, revision: str) -> str:
    """There while a decoder of the revision is."""
    return f"{prefix}:decoders:{revision}"
