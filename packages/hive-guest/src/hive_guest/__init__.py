"""What runs beside an agent inside a sandbox; standard library only."""
