"""`avatar verify`: whoever has a production model's weights sees, and measures, whether it does here what it should."""
