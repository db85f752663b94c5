"""Children of a VideoGenerator as plain dicts. Pure: no await, clock, environment or logging."""
