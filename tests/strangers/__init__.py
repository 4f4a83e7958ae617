"""What somebody without the secret can do: a refusal, and nothing else.

One command runs all of it: `python -m tests.strangers`. A stranger here is any process that does not know the
secret of the cast, the token of the API or of Ray, or that is run by another user; also one that sits between
two nodes and changes what they send each other.
"""
