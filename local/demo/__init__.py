"""`make demo`: the service at work on this machine, and the same image indexed on disk by the command line."""
