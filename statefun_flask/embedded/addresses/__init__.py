"""The life of every address: its messages, failures and pauses."""
