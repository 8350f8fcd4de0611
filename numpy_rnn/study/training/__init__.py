"""What truncations, disagreements between implementations and mistakes do to training."""
