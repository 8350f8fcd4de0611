"""Effects of truncations, disagreements between implementations and mistakes on training."""
