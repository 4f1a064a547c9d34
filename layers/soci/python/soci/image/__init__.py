"""An image as it is read: its documents, its SOCI index, its layers' files."""
