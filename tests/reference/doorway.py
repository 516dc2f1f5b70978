"""A port of 127.0.0.1 behind which a server is, and at which so many knocks may go unanswered."""

from __future__ import annotations

import contextlib
import socket
import threading


class Doorway:
    """Passes on what comes in, except from those who knock after :meth:`refuse`."""

    def __init__(self, port_behind: int) -> None:
        self._behind = port_behind
        self._guard = threading.Lock()
        self._inside: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.n_to_refuse = 0
        threading.Thread(target=self._let_in, daemon=True).start()

    def refuse(self, times: int) -> None:
        """Cut off who is inside, and the next ones who knock, so often: as many as that, and not for so long."""
        with self._guard:
            self.n_to_refuse = times
            inside = list(self._inside)
        for each in inside:
            self._close(each)

    def close(self) -> None:
        """Let nobody in any more."""
        self._close(self._listener)

    def _let_in(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                guest, _ = self._listener.accept()
                with self._guard:
                    is_refused = self.n_to_refuse > 0
                    self.n_to_refuse -= is_refused
                if is_refused:
                    self._close(guest)
                    continue
                host = socket.create_connection(("127.0.0.1", self._behind))
                with self._guard:
                    self._inside |= {guest, host}
                for source, target in ((guest, host), (host, guest)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                target.sendall(block)
        for each in (source, target):
            self._close(each)

    def _close(self, each: socket.socket) -> None:
        with self._guard:
            self._inside.discard(each)
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in it, which closing alone does not
        each.close()
