from bench.report import Row


def verdicts() -> list[Row]:
    return []
