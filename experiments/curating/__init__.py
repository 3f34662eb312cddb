"""Curation: which pictures of an archive are styles, which are contents, and which are neither."""
