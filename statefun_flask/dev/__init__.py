"""What a person meets of the embedded engine: its api, its inputs and what it shows."""
