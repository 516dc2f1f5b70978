"""A port of 127.0.0.1 behind which a server is, and which may be shut for a while."""

from __future__ import annotations

import contextlib
import socket
import threading


class Doorway:
    """Passes on what comes in; while it is shut, who knocks is refused, and who was inside is cut off."""

    def __init__(self, port_behind: int) -> None:
        self._behind = port_behind
        self._guard = threading.Lock()
        self._inside: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._serve()

    def shut(self) -> None:
        self._close(self._listener)
        with self._guard:
            inside = list(self._inside)
        for each in inside:
            self._close(each)

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._serve()

    def _serve(self) -> None:
        threading.Thread(target=self._let_in, args=(self._listener,), daemon=True).start()

    def _let_in(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it was shut
            while True:
                guest, _ = listener.accept()
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
