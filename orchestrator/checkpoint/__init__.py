"""What survives a crash: checkpoints that are complete and verified, or not there at all."""
