"""The function outcome_recorder: the outcome of an image as an event, a log line and metrics."""
