"""`make bench-start`: how long containers of real packages take to start, by each way to load their image."""
