"""Arrays whose operations round otherwise than those of NumPy."""

import numpy as np

from tests.helpers.ways import Way

FUNCTIONS = (np.tanh, np.exp, np.log, np.log1p, np.expm1)


class RoundedArray(np.ndarray):
    """An array that rounds what it reads and what it gives."""

    def rounded(self, numbers):
        """Return floats, rounded."""
        return numbers

    def share(self, shape):
        """Return by which share of their values functions, such as tanh, are off."""
        return 0.0

    def round_floats(self, value):
        """Return floats, rounded, in a plain array; other values as they are."""
        if not isinstance(value, np.ndarray | np.floating) or value.dtype.kind != "f":
            return value
        return self.rounded(np.asarray(value))

    def product(self, A, B):
        """Compute A B, of which each product and each sum is rounded."""
        result = np.zeros((len(A), B.shape[1]), A.dtype)
        for k in range(A.shape[1]):
            term = self.rounded(A[:, k, None] * B[None, k])
            result = self.rounded(result + term)
        return result

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [self.round_floats(value) for value in inputs]
        if ufunc is np.matmul:
            result = self.product(*plain)
        else:
            result = getattr(ufunc, method)(*plain, **options)
        if ufunc in FUNCTIONS:
            result = result * (1 + self.share(result.shape))
        result = self.round_floats(result)
        return result.view(type(self)) if isinstance(result, np.ndarray) else result


class Flushes(RoundedArray):
    """An array that reads subnormal numbers as zero, and gives zero for them."""

    def rounded(self, numbers):
        is_subnormal = np.abs(numbers) < np.finfo(numbers.dtype).smallest_normal
        return np.where(is_subnormal, numbers.dtype.type(0), numbers)


U = 2.0**-24  # the unit roundoff of float32
ULPS = 7  # the error of functions, of the 8 ulps that are allowed


def skewed_report(case, directions, seed):
    """Compute the report of a case in float32, whose numbers round in a direction as
    far as the unit roundoff allows it: the largest errors there are.

    directions: those that are drawn for every number, 1.0 and −1.0 or one of them.
    """
    random = np.random.default_rng(seed)

    class Skewed(RoundedArray):
        """Numbers of float32, held in float64, in which products are exact."""

        def rounded(self, numbers):
            toward = random.choice(directions, numbers.shape)
            nearest = numbers.astype(np.float32)
            farthest = (toward * np.inf).astype(np.float32)
            other = np.nextafter(nearest, farthest)
            is_other_side = (nearest - numbers) * toward < 0
            is_near = np.abs(other - numbers) <= U * np.abs(numbers)
            return np.where(is_other_side & is_near, other, nearest).astype(np.float64)

        def share(self, shape):
            return 2 * ULPS * U * random.choice(directions, shape)

    return Way().report(case, lambda array: array.astype(np.float64).view(Skewed))
