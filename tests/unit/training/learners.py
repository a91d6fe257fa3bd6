"""A learner by script: its weights are the story of the steps that it was asked for."""

import json
from pathlib import Path

from coordsvc.training.batches import Encoded
from coordsvc.training.learner import Learned

SAMPLES = tuple(Encoded((7, 8, 9, number), 1) for number in range(12))


class ScriptedLearner:
    """Loses by script on held-out samples; learns by writing down what it saw."""

    def __init__(self, held_out: list[float]) -> None:
        self.script = held_out
        self.seen: list[list[int]] = []
        self.looks = 0
        self.dies_at: int | None = None

    def step(self, batches, rate):
        assert rate > 0
        if self.dies_at == len(self.seen):
            raise KeyboardInterrupt
        self.seen.append([one.ids[-1] for batch in batches for one in batch])
        return Learned(4.0 / len(self.seen), sum(one.target_tokens for b in batches for one in b))

    def held_out(self, samples):
        assert samples
        self.looks += 1
        return self.script[min(self.looks, len(self.script)) - 1]

    def weights(self) -> bytes:
        return json.dumps(self.seen).encode()

    def state(self) -> dict[str, bytes]:
        return {"adapter": self.weights(), "state": str(self.looks).encode()}

    def restore(self, files) -> None:
        assert set(files) == {"adapter", "state"}
        self.seen = json.loads(files["adapter"])
        self.looks = int(files["state"])

    def export(self, weights: bytes, folder: Path) -> None:
        folder.mkdir()
        (folder / "adapter_config.json").write_text("{}")
        (folder / "adapter_model.safetensors").write_bytes(weights)
