"""Handles the requests of the runtime, from the bytes of a request to the bytes of its reply."""
