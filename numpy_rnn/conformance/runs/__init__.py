"""Training runs, level L3: made by a port or a package, recorded, and judged update by
update.
"""
