"""The addresses of an engine: their messages, failures and pauses."""
