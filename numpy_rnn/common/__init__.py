"""Code that both packages import: records, errors, checks of arguments, initial
weights.
"""
