"""Elementary functions to 60 digits, by decimal arithmetic: what the package's own are compared with."""

from decimal import Decimal, localcontext

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")


def exp(x: float) -> Decimal:
    return Decimal(x).exp()


def log(x: float) -> Decimal:
    return Decimal(x).ln()


def expm1(x: float) -> Decimal:
    with localcontext(prec=120):  # near 0, half of the digits cancel
        return Decimal(x).exp() - 1


def tanh(x: float) -> Decimal:
    t = expm1(2 * x)
    return t / (t + 2)


def _wave(x: float, odd: bool) -> Decimal:
    """Return sin(x) if ``odd``, else cos(x), by their series; |x| up to 1e9."""
    with localcontext(prec=90):
        angle = Decimal(x).remainder_near(2 * PI)
        term, total = angle if odd else Decimal(1), Decimal(0)
        power = 1 if odd else 0
        while abs(term) > Decimal("1e-80"):
            total += term
            term *= -angle * angle / ((power + 1) * (power + 2))
            power += 2
        return total


def sin(x: float) -> Decimal:
    return Decimal(x) if abs(x) < 1e-25 else _wave(x, odd=True)


def cos(x: float) -> Decimal:
    return _wave(x, odd=False)


def power(x: float, y: float) -> Decimal:
    with localcontext(prec=60):
        return Decimal(x) ** Decimal(y)
