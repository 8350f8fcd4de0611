"""The drawings of the documents, and the scripts that make them."""
