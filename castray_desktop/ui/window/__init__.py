"""The main window: puts the cards in place, passes the engine's events to them, and handles closing, tray
and notifications.
"""
