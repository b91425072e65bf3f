"""Mininet nodes that start without waiting: hosts and bridges in namespaces of their own.

Mininet's own start waits for one shell after the other. Here ``startShell`` only launches the
shell and :meth:`NamespaceNode.wait_shell` is called once all have been launched.

A node's namespace lives as long as its shell, which reads a pseudo-terminal held open by the
runner alone: when the runner ends, killed or not, the shell reads end-of-file and exits, and the
kernel removes the namespace with every interface in it.
"""

import os
import pty
import select
import signal
import subprocess
import termios

from mininet.node import Host, Node, Switch

from topologies.errors import EmulationError
from topologies.machine.namespaces import namespace_of

PROMPT = chr(127)  # the sentinel by which Mininet knows that a command has ended
_ECHO = 3  # index of the local flags in the list of termios.tcgetattr


class NamespaceNode(Node):  # type: ignore[misc]
    """A node whose shell is launched at once and waited for later."""

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802 (Mininet's name)
        """Launch the shell in new namespaces; see ``mininet.node.Node.startShell``."""
        self.master, self.slave = pty.openpty()
        attributes = termios.tcgetattr(self.slave)
        attributes[_ECHO] &= ~termios.ECHO
        termios.tcsetattr(self.slave, termios.TCSANOW, attributes)
        self.shell = subprocess.Popen(
            [
                "mnexec",
                mnopts or "-cdn",
                "bash",
                "--norc",
                "--noediting",
                "-is",
                f"mininet:{self.name}",
            ],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env={**os.environ, "PS1": PROMPT, "HISTFILE": ""},
        )
        self.stdin = self.stdout = os.fdopen(self.master, "r")
        self.pid = self.shell.pid
        self.pollOut = select.poll()
        self.pollOut.register(self.stdout)
        self.outToNode[self.stdout.fileno()] = self
        self.inToNode[self.stdin.fileno()] = self
        self.execed, self.lastCmd, self.lastPid, self.readbuf = False, None, None, ""
        self.waiting = True  # for the first prompt

    def wait_shell(self) -> None:
        """The shell has shown its prompt: it is in its namespace and takes commands."""
        try:
            self.waitOutput()
        except OSError as error:
            raise EmulationError(f"{self.name}: its shell ended at once") from error
        if namespace_of(self.pid) == namespace_of(os.getpid()):
            raise EmulationError(f"{self.name}: mnexec left it in the runner's namespace")
        self.cmd("set +m")

    def hang_up(self) -> None:
        """Tell the shell to end, without waiting."""
        if self.shell and self.shell.poll() is None:
            os.killpg(self.shell.pid, signal.SIGHUP)


class NamespaceHost(NamespaceNode, Host):  # type: ignore[misc]
    """An emulated device: a shell in network and mount namespaces of its own."""


class NamespaceBridge(NamespaceNode, Switch):  # type: ignore[misc]
    """A switch: a Linux bridge named like it, in a namespace of its own.

    The bridge device itself is configured in a batch with everything else; see
    :func:`topologies.emulation.ip_batch.bridge_lines`.
    """

    def start(self, controllers: object) -> None:
        """Do nothing: the kernel forwards as soon as the ports are up."""

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803 (Mininet's name)
        """Do nothing: the interfaces go with the namespace."""
