"""The pages behind the tabs (history, schedules, log, doctor) and the settings."""
