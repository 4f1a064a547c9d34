"""Images on disk: OCI layouts, tar files of them, and what `docker save` writes."""
