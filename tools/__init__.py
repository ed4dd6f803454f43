"""What builds, checks, measures and operates the product; nothing imports it."""
