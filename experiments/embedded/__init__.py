"""Trains the small networks of ``assets/embedded`` on ProceduralArt; `impasto embedded-weights` runs it."""
