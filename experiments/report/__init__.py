"""The page that compares runs: tables, curves and the template."""
