"""Requests to functions and the answers that come back."""
