"""Measures the product as a person meets it, and keeps what was measured with hardware and commit."""
