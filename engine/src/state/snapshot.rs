//! Snapshots of stores as Arrow IPC files.
