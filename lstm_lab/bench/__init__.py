"""Side-by-side timings against peers: each contender in a process of its own."""
