"""Every equation on real numbers, beside witnesses that compute the same in another way."""
