"""The talking face."""
