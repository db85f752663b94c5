"""Live news of jobs: one poller a watched job, any number of listeners, server-sent events on the wire."""
