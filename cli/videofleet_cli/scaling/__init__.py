"""What the fleets do under load: why so many workers, a live table, and emptying a worker or a node."""
