"""A TCP balancer in front of several servers, as small as one can be."""

import socket
import threading
from collections.abc import Sequence

from tests.support.outage import pump
from tests.support.waiting import eventually


class Balancer:
    """Gives each connection to the next server in turn; asks another one where one refuses.

    Nothing has been sent then: what a client says goes to one server only.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)
        self._lock = threading.Lock()
        #: Connections in hand, by server.
        self._open = dict.fromkeys(ports, 0)
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def take_out(self, port: int) -> None:
        """Give this server nothing more; on return it has nothing in hand."""
        with self._lock:
            self._ports.remove(port)
        eventually(lambda: self._open[port] == 0, 20, f"the requests in the hands of {port}")

    def put_in(self, port: int) -> None:
        with self._lock:
            self._ports.append(port)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near:
            for _ in range(len(self._open)):
                with self._lock:
                    port = self._ports.pop(0)
                    self._ports.append(port)
                    self._open[port] += 1
                try:
                    far = socket.create_connection(("127.0.0.1", port))
                except ConnectionRefusedError:
                    continue
                else:
                    with far:
                        self._forward(near, far)
                    return
                finally:
                    with self._lock:
                        self._open[port] -= 1

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=pump, args=(far, near), daemon=True)
        back.start()
        pump(near, far)
        back.join()
