"""`make demo`: index an image on disk with the command line, and with the service on this machine."""
