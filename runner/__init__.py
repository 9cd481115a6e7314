"""A plan → finished runs, on any machine."""
