"""Small dense linear algebra, without a library: `llmtrain` on a laptop has none."""

from collections.abc import Sequence

Vector = Sequence[float]
Matrix = Sequence[Sequence[float]]


def inverse(matrix: Matrix) -> list[list[float]]:
    """Of a positive definite matrix, by Gauss-Jordan. ZeroDivisionError where it is singular."""
    size = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for i in range(size):
        pivot = rows[i][i]
        rows[i] = [value / pivot for value in rows[i]]
        for j in range(size):
            if j != i and rows[j][i]:
                factor = rows[j][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[size:] for row in rows]


def times(matrix: Matrix, vector: Vector) -> list[float]:
    """Matrix times vector."""
    return [dot(row, vector) for row in matrix]


def dot(left: Vector, right: Vector) -> float:
    """Sum of products."""
    return sum(a * b for a, b in zip(left, right, strict=True))


def form(matrix: Matrix, vector: Vector) -> float:
    """v' M v."""
    return dot(vector, times(matrix, vector))
