"""The generated parts of the manual, written by `make docs`: tables of settings, the picture of the dashboard."""
