"""Timings of statefun_flask beside its peers; see README.md."""
