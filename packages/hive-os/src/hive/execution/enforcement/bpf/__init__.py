"""Programs for the kernel: their source, and what `scripts/bpf` made of it."""
