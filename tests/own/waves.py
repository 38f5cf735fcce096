from math import cos, pi


def waves(peak, steps):
    """Three falling cosine waves, each half as high as the one before."""

    def rate(step):  # 0 to steps - 1
        wave, place = divmod(3 * step / steps, 1)
        return peak * 0.5**wave * (1 + cos(pi * place)) / 2

    return rate
