"""Numbers in words."""

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scientific(number: float | None, digits: int = 1) -> str:
    """5e-12 as 5·10⁻¹², with so many significant digits; from 0.01 to 1000 without a power, and with two at least.

    None, which stands for NaN and infinity in the findings, as "not finite".
    """
    if number is None:
        return "not finite"
    if number == 0 or 0.01 <= abs(number) < 1000:
        return f"{float(f'{number:.{max(digits, 2)}g}'):g}"
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    return f"{mantissa}·{power_of_ten(int(exponent))}"


def power_of_ten(exponent: int) -> str:
    """10⁻¹²."""
    return "10" + str(exponent).translate(SUPERSCRIPTS)
