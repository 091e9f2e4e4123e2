"""One job from start to end: plan, attempts, result."""
