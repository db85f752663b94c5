"""Webhooks: where they may go, how they are signed, when they are tried again, and the process that sends them."""
