"""What is particular to a phone."""
