"""How numbers are computed: natively, as fast as numpy can, or portably, with the same bits on every machine.

``choose`` returns the arithmetic that the setting ``numerics`` names. It is handed down to layers, losses, optimizers
and schedules, which call its methods and do not know which one they have. README.md specifies the portable arithmetic.
"""

from distlenet.arithmetic.native import NATIVE, Native
from distlenet.arithmetic.portable import PORTABLE, Portable
from distlenet.errors import ConfigError, nearest

Arithmetic = Native  # Portable is one: it overrides every method whose last bit depends on the machine
ARITHMETICS: dict[str, Arithmetic] = {"native": NATIVE, "portable": PORTABLE}


def choose(name: str) -> Arithmetic:
    """Return the arithmetic called ``name``; raises ConfigError if the name is unknown."""
    if name not in ARITHMETICS:
        raise ConfigError(f"numerics {name!r} is unknown{nearest(name, ARITHMETICS)}: one of {', '.join(ARITHMETICS)}")
    return ARITHMETICS[name]


__all__ = ["NATIVE", "PORTABLE", "Arithmetic", "Native", "Portable", "choose"]
