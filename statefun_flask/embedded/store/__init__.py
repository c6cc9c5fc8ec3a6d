"""What the engine keeps, in memory or on disk."""
