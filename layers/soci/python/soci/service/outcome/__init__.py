"""The function outcome_recorder: what came of an image, as an event, a log line and metrics."""
