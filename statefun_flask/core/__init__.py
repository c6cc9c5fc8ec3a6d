"""From a request's bytes to an answer's bytes."""
