"""What `impasto evaluate` does: settle the pairs of a protocol, paint them, measure them, write the tables."""
