//! Spread blocks as shreds down a tree, and gather them again: shreds, FEC sets, the tree, retransmission, repair.
