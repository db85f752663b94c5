"""`videofleet rollout`: what a fleet's rollout does, and what people ask of it."""
