"""The item matrix, what a truncation keeps of it, and what makes its items vanish or explode."""
