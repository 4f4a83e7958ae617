"""The window as a person uses it: pilots of a real one, drags from outside, and what is seen and clicked."""
