//! Answer questions about the chain: JSON-RPC, subscriptions, REST. Requests in, responses out; HTTP itself is the shell's.
