"""The engine protocol: commands that clients send, replies and events that the engine returns.

Frames are a 4-byte big-endian length and a MessagePack body. A client opens with `Hello` and gets
`Welcome`, the complete state; from then on it sends a `Request` with a number of its own, which the
engine answers with one `Answer` of that number, and receives an event whenever something
changed. Sizes are bytes, rates bytes per second, durations seconds, times UTC as POSIX seconds.

Each module has the messages about one thing; all of them can be imported from here.
"""

from castray_desktop.core.casts.transfer_options import *
from castray_desktop.core.protocol.messages.cast_messages import *
from castray_desktop.core.protocol.messages.cluster_messages import *
from castray_desktop.core.protocol.messages.engine_messages import *
from castray_desktop.core.protocol.messages.history_messages import *
from castray_desktop.core.protocol.messages.message_base import *
from castray_desktop.core.protocol.messages.message_encoding import *
from castray_desktop.core.protocol.messages.schedule_messages import *
