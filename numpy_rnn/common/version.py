"""The version of the project, which its build reads here."""

__version__ = "0.1.0"
