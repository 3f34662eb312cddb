"""What a run leaves behind: its folder, its table of numbers, the command and sources that made it."""
