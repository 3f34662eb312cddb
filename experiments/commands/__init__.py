"""One file per command of ``impasto``; each is imported when it is called."""
