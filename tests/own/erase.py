def erase(images, random):  # (n, rows, columns) uint8, to be changed or not; a numpy Generator
    """Blacken a square of a quarter of each image's height at a random position."""
    n, rows, columns = images.shape
    down, right = random.integers(0, rows, n), random.integers(0, columns, n)
    for image, row, column in zip(images, down, right, strict=True):
        image[row : row + rows // 4, column : column + rows // 4] = 0
    return images  # of the same shape and type
