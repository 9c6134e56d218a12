"""What keeps small groups of people out of every output."""
