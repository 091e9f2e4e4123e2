"""Where the ranks of a process group meet: a store of torch's, on loopback where the node is."""

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined] # made in C++

# As nodes of our development clusters are addressed.
_LOOPBACK = "127.0.0.1"

_held: list["TCPStore"] = []


def meet_on_loopback(address: str, port: int) -> None:
    """Has the store of this process listen on loopback alone, where its address is there.

    Torch would listen on every address of the machine, and the store asks nobody for a token. The
    first one on a port is the one that is used, so this comes before the process group is made.

    Args:
        address: on which the ranks look for the store.
    """
    if address != _LOOPBACK:
        return
    # Only here: by far the longest import, and only the workers need it.
    from torch.distributed import TCPStore  # type: ignore[attr-defined] # compiled

    listener = socket.create_server((address, port))
    store = TCPStore(
        address,
        port,
        is_master=True,
        wait_for_workers=False,
        multi_tenant=True,
        master_listen_fd=listener.detach(),
    )
    _held.append(store)


def leave() -> None:
    """Gives the store back, once there is no process group any more."""
    _held.clear()
