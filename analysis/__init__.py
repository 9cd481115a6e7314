"""Rows in, intervals out; no torch."""
