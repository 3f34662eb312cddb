"""One file per data set of ``impasto prepare``: its options, and `main`, which writes it and returns where it lies."""
