"""The values that users work with: addresses, messages, types, states, contexts and effects."""
