"""The known mistakes: made on purpose, killed, and recognised."""
