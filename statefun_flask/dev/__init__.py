"""What a person meets of the embedded engine: its doors, its inputs and what it shows."""
