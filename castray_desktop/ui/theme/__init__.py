"""How the window looks: colours, style sheet, fonts and bundled resources."""
