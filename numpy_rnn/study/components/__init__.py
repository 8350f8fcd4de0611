"""The component matrix, what a truncation keeps of it, and what makes its components vanish or explode."""
