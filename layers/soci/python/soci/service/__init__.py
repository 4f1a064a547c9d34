"""What the deployed functions do: which images to index, each layer, the publication. Over the ports alone."""
