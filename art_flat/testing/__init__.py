"""What an author of an attack plugin needs for tests."""
