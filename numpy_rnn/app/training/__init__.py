"""The command `train`: its losses, predictions and plot."""
