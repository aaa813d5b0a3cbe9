//! Epochs, and who leads which slot.
