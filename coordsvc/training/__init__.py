"""From dialogues to adapters: prepare, quantise, fine-tune, evaluate. Plain classes, no Ray."""
