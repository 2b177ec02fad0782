"""Whole journeys, with the real command and the real engines."""
