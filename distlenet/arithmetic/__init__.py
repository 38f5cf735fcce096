"""How numbers are computed: natively, as fast as numpy can, or portably, with the same bits on every machine."""
