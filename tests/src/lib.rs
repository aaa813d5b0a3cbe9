//! Whole clusters in one thread, whole clusters in processes, frozen wire formats, stock clients, and the shape of this repository.
