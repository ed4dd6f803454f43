"""The command `avatar`: a client like any other, and the supervisor of a stack on one machine."""
