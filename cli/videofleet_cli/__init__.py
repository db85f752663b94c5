"""`videofleet`, also `kubectl videofleet`: the demo, the development cluster, and a client of the gateway."""
