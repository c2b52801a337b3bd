"""Host: the program's side of the host link, over whatever pyserial opens."""

from __future__ import annotations

import errno
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import serial

from bittern.hw.link import CHECK, END, ESC, ESC_END, ESC_ESC, OUTSTANDING, Command, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from bittern.gen.port import Port
    from bittern.hw.ints import Ints

__all__ = ["Device", "Identity", "frame", "pack", "stuff", "unframe", "unpack"]

#: The longest noise, in bytes, after which nothing sensible is expected any more.
NOISE = 4096

_END, _ESC = bytes([END]), bytes([ESC])


def _table() -> list[int]:
    """Return the CRC after each byte, from a CRC of 0: bytewise, lowest bit first."""
    step = CHECK.algorithm
    step.initial_crc = step.xor_output = 0
    return [step(8).compute([byte]) for byte in range(256)]


_TABLE = _table()


def check(body: bytes) -> bytes:
    """Return the CRC of `body` as it goes on the wire: what ``CHECK.compute`` says, but faster."""
    crc = int(CHECK.algorithm.initial_crc)
    for byte in body:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    return (crc ^ int(CHECK.algorithm.xor_output)).to_bytes(2, "little")


def stuff(raw: bytes) -> bytes:
    """Return `raw` with nothing special in it, and an `END`."""
    return raw.replace(_ESC, _ESC + bytes([ESC_ESC])).replace(_END, _ESC + bytes([ESC_END])) + _END


def frame(body: bytes) -> bytes:
    """Return `body` as it goes on the wire: with its CRC, stuffed and ended."""
    return stuff(body + check(body))


def unframe(raw: bytes) -> bytes | None:
    """Return the body in what came before an `END`, or None if it is damaged."""
    special = {bytes([ESC_END]): _END, bytes([ESC_ESC]): _ESC}
    head, *parts = raw.split(_ESC)
    if not all(part[:1] in special for part in parts):
        return None
    whole = head + b"".join(special[part[:1]] + part[1:] for part in parts)
    return whole[:-2] if len(whole) >= 4 and check(whole[:-2]) == whole[-2:] else None


def pack(port: Port, x: Ints) -> list[bytes]:
    """Return the frames `x`, ``(frames, …)``, as the bytes that the link carries."""
    return [row.tobytes() for row in port.to_bytes(x).reshape(len(x), -1)]


def unpack(port: Port, frames: Sequence[bytes]) -> Ints:
    """Return the frames, ``(frames, features)``, in bytes that the link carried."""
    payloads = np.frombuffer(b"".join(frames), np.uint8).reshape(-1, -(-port.bits // 8))
    return port.from_bytes(payloads)


@dataclass(frozen=True)
class Identity:
    """What a design says of itself."""

    design: bytes
    """Eight bytes that name it."""
    i_bytes: int
    """Bytes of an input frame."""
    o_bytes: int
    """Bytes of an output frame."""


class Device:
    """A design behind a serial port. Use it in a ``with`` statement.

    What is lost or damaged on the way is sent again. All errors are :exc:`OSError` or
    :exc:`ValueError` with one line that says what to do.

    Parameters
    ----------
    port
        What pyserial opens: ``/dev/ttyUSB1``, ``COM3``, ``socket://…``, a pseudo-terminal.
    baud
        Bits per second; a pseudo-terminal does not care.
    design
        The eight bytes that name the design that must be there, or None for any.
    timeout
        Seconds of silence after which requests are sent again.
    retries
        How often a request is sent again before the device is given up.
    window
        Requests under way at a time; fewer if the device has no room for them.

    Raises
    ------
    FileNotFoundError, PermissionError, OSError
        If the port does not open.
    TimeoutError
        If nothing answers.
    ConnectionError
        If what answers is garbage.
    ValueError
        If another design answers.

    Attributes
    ----------
    identity
        What the design says of itself.
    """

    def __init__(self, port: str, baud: int, *, design: bytes | None = None, timeout: float = 1.0,
                 retries: int = 3, window: int = 4) -> None:
        if not 1 <= window <= OUTSTANDING:
            raise ValueError(f"the window must be 1 to {OUTSTANDING}, not {window}")
        self.port, self.baud, self.timeout, self.retries = port, baud, timeout, retries
        self.window = window
        self._sequence = random.randrange(256)
        self._received = bytearray()
        self._noise, self._longest = 0, 64
        self._serial = _open(port, baud, timeout)
        try:
            # Whatever the design has got of a frame ends here.
            self._write(_END)
            self.identity = self.identify()
            if design is not None and self.identity.design != design:
                raise ValueError(
                    f"{port}: the board holds the design {self.identity.design.hex()}, not "
                    f"{design.hex()}: flash the bitstream that belongs to this network")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Device:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the port."""
        self._serial.close()

    def identify(self) -> Identity:
        """Ask the design what it is."""
        [reply] = self._exchange(Command.IDENTIFY, [b""], 16, lambda _: None)
        return Identity(reply[:8], int.from_bytes(reply[8:12], "little"),
                        int.from_bytes(reply[12:], "little"))

    def infer(self, frames: Sequence[bytes], *,
              progress: Callable[[int], None] = lambda _: None) -> list[bytes]:
        """Return the output frame of each input frame.

        Parameters
        ----------
        frames
            Input frames, each ``identity.i_bytes`` long.
        progress
            Is told how many are done, whenever one is.
        """
        size = self.identity.i_bytes
        for k, payload in enumerate(frames):
            if len(payload) != size:
                raise ValueError(f"{self.port}: the design takes frames of {size} bytes, "
                                 f"but frame {k} has {len(payload)}")
        return self._exchange(Command.INFER, frames, self.identity.o_bytes, progress)

    def _exchange(self, command: Command, payloads: Sequence[bytes], size: int,
                  progress: Callable[[int], None]) -> list[bytes]:
        """Return the payloads, `size` bytes each, of the answers to requests."""
        self._longest = 2 * (size + 4)
        answers: dict[int, bytes] = {}
        waiting, under_way = deque(range(len(payloads))), set[int]()
        tries = [0] * len(payloads)
        # Sequence numbers stand for their request until they are used again: late answers count.
        asked: dict[int, int] = {}
        window, failure = self.window, ""
        while len(answers) < len(payloads):
            while waiting and len(under_way) < window:
                index = waiting.popleft()
                if tries[index] > self.retries:
                    raise self._given_up(failure)
                tries[index] += 1
                self._sequence = (self._sequence + 1) % 256
                asked[self._sequence] = index
                under_way.add(index)
                self._write(frame(bytes([self._sequence, command.value]) + payloads[index]))
            body = self._read()
            if body is None:
                failure = ""
                waiting.extendleft(sorted(under_way, reverse=True))
                under_way.clear()
                self._write(_END)
                continue
            index = asked.pop(body[0], -1)
            if index < 0 or index in answers:
                continue
            under_way.discard(index)
            if body[1] == Status.OK.value and len(body) == size + 2:
                answers[index] = body[2:]
                if index in waiting:
                    waiting.remove(index)
                progress(len(answers))
                continue
            if index not in waiting:
                waiting.appendleft(index)
            failure = _meaning(body[1])
            if body[1] == Status.BUSY.value:
                # Others are in its way: one less from now on, and this was no try.
                if under_way:
                    window = len(under_way)
                    tries[index] -= 1
                else:
                    time.sleep(self.timeout / 4)
        return [answers[k] for k in range(len(payloads))]

    def _given_up(self, failure: str) -> OSError:
        """Return the error that tells why there is no answer."""
        times = f"{self.retries + 1} times"
        if failure:
            return ConnectionError(f"{self.port}: the design refused a request {times}: {failure}")
        if self._noise:
            return self._garbage()
        return TimeoutError(
            f"{self.port}: no answer within {self.timeout:g} s, asked {times}: is this the port of "
            f"the board, is its bitstream loaded, and does it run at {self.baud} baud?")

    def _garbage(self) -> OSError:
        return ConnectionError(
            f"{self.port}: {self._noise} bytes came that are no answer: is this the port of the "
            f"board, is its bitstream loaded, and does it run at {self.baud} baud?")

    def _write(self, raw: bytes) -> None:
        try:
            self._serial.write(raw)
        except serial.SerialTimeoutException:
            raise TimeoutError(f"{self.port}: takes no data for {self.timeout:g} s: is it the port "
                               "of the board?") from None
        except OSError as error:
            raise self._gone(error) from None

    def _read(self) -> bytes | None:
        """Return the body of the next answer, or None after the silence of a timeout."""
        while True:
            raw, end, rest = self._received.partition(_END)
            if end:
                self._received = rest
                body = unframe(bytes(raw))
                if body is not None:
                    self._noise = 0
                    return body
                self._noise += len(raw) + 1
            elif len(raw) > self._longest:
                self._noise += len(raw)
                self._received.clear()
            if self._noise > NOISE + 4 * self._longest:
                raise self._garbage()
            if end:
                continue
            try:
                data = self._serial.read(max(1, self._serial.in_waiting))
            except OSError as error:
                raise self._gone(error) from None
            if not data:
                self._noise += len(self._received)
                self._received.clear()
                return None
            self._received += data

    def _gone(self, error: OSError) -> OSError:
        return ConnectionError(f"{self.port}: the port has gone away ({error}): plug it in again")


def _meaning(status: int) -> str:
    """Return what a status says."""
    meanings = {Status.OK.value: "its answer has the wrong length",
                Status.BAD_CRC.value: "it arrives damaged",
                Status.UNKNOWN.value: "it does not know this command",
                Status.BAD_LENGTH.value: "it expects another length",
                Status.BUSY.value: "it is busy"}
    return meanings.get(status, f"status {status}")


def _open(port: str, baud: int, timeout: float) -> serial.SerialBase:
    """Open a port, or raise an error that says why not."""
    try:
        line = serial.serial_for_url(port, baud, timeout=timeout, write_timeout=timeout,
                                     exclusive=True)
        line.reset_input_buffer()
    except OSError as error:
        match error.errno:
            case errno.ENOENT | errno.ENODEV | errno.ENXIO:
                raise FileNotFoundError(f"{port}: there is no such port: is the board plugged "
                                        "in?") from None
            case errno.EACCES | errno.EPERM:
                raise PermissionError(f"{port}: may not be opened by you: join the group that "
                                      "owns it (often dialout), and log in again") from None
            case errno.EBUSY | errno.EAGAIN:
                raise OSError(f"{port}: another program has it open: end that one") from None
            case _:
                raise OSError(f"{port}: does not open: {error}") from None
    return line
