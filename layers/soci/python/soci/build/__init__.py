"""The recipes: index the layers of an image, make the documents, push them."""
