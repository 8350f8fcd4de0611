"""Code that both packages import: records, errors, checks of arguments, the iterator of updates, initial weights."""
