"""Draws the pictures of ``docs/architecture.md``."""
