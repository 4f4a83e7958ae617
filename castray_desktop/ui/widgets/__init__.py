"""Controls that all parts of the window are built from. They know the theme, and nothing of casts or
clusters.
"""
