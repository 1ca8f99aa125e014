"""Between a session and an executable: feeds, fetches, configuration."""
