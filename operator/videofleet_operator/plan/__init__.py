"""Decisions about one fleet: pure functions over what was observed. No await, clock, environment, logging."""
