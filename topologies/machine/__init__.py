"""The machine beneath an emulation: namespaces, control groups, idle CPU, pauses."""
