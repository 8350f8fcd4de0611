"""Every equation on the numbers of a run, compared with witnesses that compute the same in another way."""
