"""The computation of a PyTorch training loop, observed while it runs."""

from torch_rnn.loop_audit.audit_report import audit as audit
