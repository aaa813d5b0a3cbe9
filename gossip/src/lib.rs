//! Learn who is out there and what they say.
