"""What `impasto prepare` does for public data: fetch, check, lay out, find what is there twice, write it all down."""
