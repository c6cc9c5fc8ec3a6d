"""What users of the package hold: addresses, messages, types, states, contexts and effects."""
