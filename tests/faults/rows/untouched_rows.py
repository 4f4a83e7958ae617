"""What can't happen: faults of disks, files and clocks at parts that no byte of a cast passes."""

from __future__ import annotations

from tests.faults.fault_cells import Cell, Component, Fault, not_applicable

DISKS = (
    Fault.DISK_FULL,
    Fault.READ_ONLY,
    Fault.WRITE_ERROR,
    Fault.SYNC_ERROR,
    Fault.READ_ERROR,
    Fault.HANGS,
)
FILES = (Fault.CHANGED, Fault.TRUNCATED, Fault.DELETED, Fault.DESTINATION_REMOVED)
WHY = {
    Component.WINDOW: "the window reads and writes its settings alone",
    Component.DRIVER: "the driver keeps nothing on a disk",
    Component.RAYLET: "no byte of a cast passes Ray's disk; a raylet that its disk ends is *SIGKILL*",
    Component.HEAD: "no byte of a cast passes Ray's disk; a head that its disk ends is *SIGKILL*",
}
POWER = {
    Component.ENGINE: "as *SIGKILL*, and its records are synced as they are written",
    Component.WINDOW: "as *SIGKILL*",
    Component.DRIVER: "as *SIGKILL*",
    Component.RAYLET: "as *SIGKILL*",
    Component.HEAD: "as *SIGKILL*",
}

CELLS: tuple[Cell, ...] = (
    *(
        cell
        for component, why in WHY.items()
        for fault in DISKS
        for cell in not_applicable(component, fault, why)
    ),
    *(
        cell
        for component in (Component.ENGINE, *WHY)
        for fault in FILES
        for cell in not_applicable(component, fault, "it holds no file of a cast")
    ),
    *(
        cell
        for component in WHY
        for cell in not_applicable(component, Fault.CLOCK_MOVED, "no part of a cast reads its wall clock")
    ),
    *(cell for component, why in POWER.items() for cell in not_applicable(component, Fault.POWER_LOSS, why)),
)
