"""The computation of a PyTorch training loop, observed while it runs."""

from torch_rnn.loop_audit.session import audit as audit
