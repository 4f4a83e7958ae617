"""The window: Qt only.

Knows the types of core and the engine's client, and nothing else of the workers. Layers, from the bottom:
theme and i18n, widgets, model, the cards and pages, window.
"""
