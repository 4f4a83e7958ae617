"""The pages behind the tabs, and the settings."""
