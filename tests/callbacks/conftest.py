import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "stubs"))  # which ranks that a test spawns inherit
