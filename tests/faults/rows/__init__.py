"""The rows of the fault matrix, by what fails: disks, files, processes and links, engines, power."""
