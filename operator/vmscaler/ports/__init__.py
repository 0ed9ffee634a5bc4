"""Protocols and value types for the outside, and the error taxonomy. Ports say what they raise."""
