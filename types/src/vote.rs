//! Votes as they travel: vote transactions and what they say.
