"""The recipient list with its groups; the accessible equal of the graph. Both share `RecipientSelection`."""
