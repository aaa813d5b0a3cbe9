//! Run it: the node composed of the machines, the virtual world that runs whole nodes, and the shell that knows sockets, threads, clocks and disks.
