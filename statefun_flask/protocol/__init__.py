"""Requests and answers as bytes, and the neutral records between."""
