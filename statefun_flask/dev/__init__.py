"""The user interface of the embedded engine: its HTTP API, its inputs and its log."""
