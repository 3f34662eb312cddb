"""What `impasto study` does: ask people about pictures without saying whose they are, and count their votes."""
