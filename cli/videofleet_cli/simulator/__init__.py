"""A fleet on paper: thousands of hours of load against the operator's own planners and against other autoscalers."""
