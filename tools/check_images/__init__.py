"""Checks the container images and how they are run together, on a machine that has no container engine."""
