#!/bin/sh
# Start three validators from one genesis and stay with them; Ctrl-C stops all. See `./localnet.sh --help`.
cd "$(dirname "$0")" || exit 1
exec cargo run --release -- localnet "$@"
