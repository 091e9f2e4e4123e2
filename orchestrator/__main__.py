"""`python -m orchestrator`."""

from orchestrator.cli.main import command

if __name__ == "__main__":
    command()
