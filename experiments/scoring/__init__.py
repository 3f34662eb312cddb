"""What `impasto score` does: pair the pictures of folders, measure them, write a table."""
