"""The attacks of `scripts/attack.py`, and who is measured meanwhile."""
