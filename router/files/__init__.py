"""Files between people and agents: what kind they are, how they come along, what is said of them."""
