"""`python -m experiments ...` is `impasto ...`: it works from the repo's root without an installation."""

from experiments.cli import run

if __name__ == "__main__":
    run()
