"""The browser on one side, the services on the other."""
