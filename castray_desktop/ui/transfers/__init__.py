"""The bottom card: the table of casts and deliveries, their details, and what a person can do with them.

The front door is `transfers_card.TransfersCard`.
"""
