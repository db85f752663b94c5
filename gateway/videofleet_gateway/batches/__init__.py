"""Batches: JSON Lines of requests in, JSON Lines of results out, and the loop that feeds them to the queue."""
