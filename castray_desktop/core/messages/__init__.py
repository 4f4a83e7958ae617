"""The engine protocol: commands that clients send, replies and events that the engine returns.

Frames are a 4-byte big-endian length and a MessagePack body. A client opens with `Hello` and gets
`Welcome`, the whole picture; from then on it sends a `Request` with a number of its own, which the
engine answers with one `Answer` of that number, and receives an event whenever something
changed. Sizes are bytes, rates bytes per second, durations seconds, times UTC as POSIX seconds.

Each module has the messages about one thing; all of them can be imported from here.
"""

from castray_desktop.core.messages.base import *
from castray_desktop.core.messages.casts import *
from castray_desktop.core.messages.cluster import *
from castray_desktop.core.messages.control import *
from castray_desktop.core.messages.diagnosis import *
from castray_desktop.core.messages.engine import *
from castray_desktop.core.messages.history import *
from castray_desktop.core.messages.schedules import *
from castray_desktop.core.messages.settings import *
from castray_desktop.core.messages.wire import *
