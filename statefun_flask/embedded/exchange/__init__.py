"""Writes requests to functions, and reads and checks their replies."""
