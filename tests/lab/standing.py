"""What a test stands up with `with`, and what goes away whatever happens, half stood up as well."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Standing:
    """To be closed at the end of the block, and at once where it does not stand up."""

    def stand(self) -> None:
        """Stand up; without a word of its own it stands since it was made."""

    def close(self) -> None:
        """Go away."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.stand()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
