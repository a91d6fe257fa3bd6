"""A mirror of an engine's prefix cache, for engines that do not tell what they found cached.

Rules. Only full blocks are cached. A block is known by itself and all that precedes it, so the
hash of a block includes its parent's. The least recently used block is forgotten first. The last
prompt token is always computed, as its output is the first new token.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence


class PrefixMirror:
    """Remembers which prefixes the engine should hold. An estimate: the engine may know less."""

    def __init__(self, block_tokens: int, capacity_blocks: int) -> None:
        if block_tokens < 1 or capacity_blocks < 0:
            msg = f"a mirror of {capacity_blocks} blocks of {block_tokens} tokens cannot be"
            raise ValueError(msg)
        self._block_tokens = block_tokens
        self._capacity = capacity_blocks
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        """Return how many blocks are remembered; at most the capacity."""
        return len(self._blocks)

    def cached(self, ids: Sequence[int]) -> int:
        """Return how many leading tokens need no computing; always less than all of them."""
        found = 0
        for block in self._chain(ids):
            if block not in self._blocks:
                break
            found += 1
        return max(0, min(found * self._block_tokens, len(ids) - 1))

    def insert(self, ids: Sequence[int]) -> None:
        """Remember every full block of `ids` as just used, forgetting the longest unused."""
        # The first block is touched last: a chain is worthless without its head.
        for block in reversed(list(self._chain(ids))[: self._capacity]):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)

    def _chain(self, ids: Sequence[int]) -> Iterator[int]:
        """Yield the hash of each full block, its parent's included."""
        parent = 0
        size = self._block_tokens
        for start in range(0, len(ids) - size + 1, size):
            parent = hash((parent, *ids[start : start + size]))
            yield parent
