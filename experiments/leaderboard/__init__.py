"""The leaderboard: every method and baseline on the same held-out pairs, several seeds, from nothing to its pages."""
