"""The left card: turns dropped or chosen paths and options into a `SendRequest`."""
