"""What limits a job of 1,000 training workers, measured by the unit on one machine."""
