"""`videofleet demo`: from nothing to a video on one machine, through the same chart, manifests and API as anywhere."""
