"""What methods share that restyle by attention and learn by internal losses, external adversaries and contrast."""
