"""A trained method applied to pictures and videos: loading it, painting, what goes where."""
