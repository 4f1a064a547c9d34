"""An image as a read-only file system: where its bytes come from, and the operations of FUSE."""
