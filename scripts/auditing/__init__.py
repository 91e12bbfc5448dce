"""A second reading of the formats, for `audit.py`: it shares no code with the package that it judges."""
