"""How far a right computation may be off: stage by stage from its own inputs (L1), or in all, from an oracle (L2)."""
